"""Which latent units a model uses."""

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.evaluation.held_out import IMAGES
from iwae_core.models import Model
from iwae_core.randomness import generator

ACTIVE = 0.01  # the variance above which a unit counts as active
SAMPLES = 50  # of the layers below, for the mean of a higher one


@torch.no_grad()
def active_units(
    model: Model, x: Float[Tensor, "images pixels"], samples: int, seed: int
) -> list[Float[Tensor, " units"]]:
    """Activity of each unit of each stochastic layer, nearest to x first: Var over images of E_q[h_u | x].

    A unit is active where this exceeds `ACTIVE`. The first layer's mean is exact; the mean of a higher layer averages
    over `samples` draws of the layers below, and the noise this leaves, which would pass for activity, is subtracted.
    Source: Burda et al. 2016, section 5.2.
    """
    starts = range(0, len(x), IMAGES)
    parts = [_unit_means(model, x[s : s + IMAGES], samples, generator(seed, "active units", s)) for s in starts]
    return [
        torch.cat([mean for mean, _ in layer]).var(0) - torch.cat([noise for _, noise in layer]).mean(0)
        for layer in zip(*parts, strict=True)
    ]


def active_counts(model: Model, x: Float[Tensor, "images pixels"], seed: int) -> list[int]:
    """The number of active units of each stochastic layer, nearest to x first."""
    return [int((layer > ACTIVE).sum()) for layer in active_units(model, x, SAMPLES, seed)]


def _unit_means(model: Model, x: Tensor, samples: int, randomness: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """For each layer E_q[h | x], `[images, units]`, and the variance of its estimate."""
    given, means = x[None], []
    for index, layer in enumerate(model.recognition.layers):
        mean = layer.mean(given)
        mean = mean.expand(len(given), len(x), -1)
        means.append((mean.mean(0), mean.var(0) / samples if index else torch.zeros_like(mean[0])))
        given, _ = layer.sample(given, layer.noise(samples, len(x), randomness).to(x.dtype))
    return means
