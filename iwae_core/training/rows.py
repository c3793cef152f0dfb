"""A second forward pass, with derivatives, through those rows alone that take part in the backward pass."""

import torch
from torch import Tensor

from iwae_core.draws import Cotangents, Draws
from iwae_core.estimators import Surrogate
from iwae_core.models import Encoded, Model, Noise
from iwae_core.models.model import DERIVATIVES, Layers


def surrogate_of_rows(
    model: Model, x: Tensor, noise: Noise, encoded: Encoded, draws: Draws, pulls: Cotangents
) -> Surrogate:
    """Per-row values whose derivatives are those of pulls times log-densities; rows without a pull are left out.

    `draws` are what the model made of x, noise and `encoded`, without derivatives.
    """

    def given(rows: Tensor) -> tuple[Tensor, Noise, Encoded]:
        images = rows % len(x)
        return x[images], taken(noise, rows), tuple(part[images] for part in encoded)

    theta, p, q = (pull.flatten() for pull in pulls)
    if draws.path == "score":  # h is a constant, so theta and phi do without each other's rows
        of_p, of_q = numbers(theta), numbers(q)
        log_p = model.generative(x[of_p % len(x)], taken(draws.h, of_p))
        images, own_noise, own_encoded = given(of_q)
        _, log_q = model.recognition.sample(images, own_noise, DERIVATIVES["score"], own_encoded)
        return Surrogate(theta[of_p] * log_p, q[of_q] * log_q)
    rows = numbers(theta, p, q)
    images, own_noise, own_encoded = given(rows)
    again = model.draw(images, own_noise, draws.path, encoded=own_encoded)
    for_phi = p[rows] * again.log_p + q[rows] * again.log_q
    return Surrogate(for_phi if pulls.theta is pulls.p else theta[rows] * again.log_p, for_phi)


def numbers(*pulls: Tensor) -> Tensor:
    """The rows on which any of these is not zero; one row if there is none, since networks want one."""
    found = torch.stack(pulls).any(0).nonzero().squeeze(1)
    return found if len(found) else found.new_zeros(1)


def taken(layers: Layers, rows: Tensor) -> Layers:
    """These of the k x batch rows of every layer, as one sample each of so many data."""
    return tuple(layer.flatten(0, 1)[rows][None] for layer in layers)
