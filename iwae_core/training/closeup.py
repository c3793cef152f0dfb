"""One training step seen slowly: what the samples of one image weigh before and after the update."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.draws import Draws
from iwae_core.estimators import Estimator
from iwae_core.models import Model, Noise

SHOWN = 50  # samples at most
PICTURES = 10


@dataclass(frozen=True)
class RunBefore:
    """One run before the update: the noise of its k samples, their log-weights and pulls, and the first decoded."""

    noise: Noise
    log_weights: Float[Tensor, " k"]
    pulls: Float[Tensor, " k"]
    decoded: Float[Tensor, "pictures pixels"]


@dataclass(frozen=True)
class Before:
    """The first image of the minibatch of step number `step` (from 0), and what each run makes of it before the update.

    Holds on to no model: it stays as it is when the step is made.
    """

    step: int
    x: Float[Tensor, "1 pixels"]
    runs: tuple[RunBefore, ...]


@torch.no_grad()
def weigh(model: Model, x: Float[Tensor, "1 pixels"], noise: Noise) -> Float[Tensor, " k"]:
    """log w of the samples made from this noise, in nats."""
    return model.draw(x, noise).log_weights[:, 0]


def look(
    model: Model, estimator: Estimator, x: Float[Tensor, "1 pixels"], noise: Noise, **settings: int | float
) -> RunBefore:
    """What a run makes of one image, given the noise of its samples."""
    log_weights = weigh(model, x, noise)
    with torch.no_grad():
        h, _ = model.recognition.sample(x, tuple(layer[:PICTURES] for layer in noise))
        decoded = model.generative.mean(h)[:, 0]
    return RunBefore(noise, log_weights, pulls(estimator, log_weights, **settings), decoded)


def pulls(estimator: Estimator, log_weights: Float[Tensor, " k"], **settings: int | float) -> Float[Tensor, " k"]:
    """What multiplies the theta-gradient of each log w_i: 1/k for L_1, the normalised weights w~_i for L_k.

    The derivative of the estimator's own surrogate in log p(x, h_i), so also right for all that lies between. An
    estimator that keeps one sample, drawn with probability w~_i, is shown by that probability.
    """
    log_p = log_weights.detach()[:, None].requires_grad_()
    zero = torch.zeros_like(log_p)
    draws = Draws(estimator.path, (), log_p, zero, kl_error=zero, kept=iwae_bound(log_p), dream_log_q=zero)
    (found,) = torch.autograd.grad(estimator(draws, **settings).theta.sum(), log_p)
    return found[:, 0]


def both_bounds(log_weights: list[Tensor]) -> NDArray[np.float32]:
    """The minibatch ELBO and the L_k estimate of each run from all its samples, `[runs, 2]`."""
    pairs = [torch.stack([elbo(values[:, None]), iwae_bound(values[:, None])])[:, 0] for values in log_weights]
    return torch.stack(pairs).float().numpy()


def shown(values: list[Tensor]) -> NDArray[np.float32]:
    """The first `SHOWN` samples of each run, `[runs, samples]`; NaN where a run has fewer than another."""
    result = torch.full((len(values), min(SHOWN, max(len(row) for row in values))), torch.nan)
    for to, row in zip(result, values, strict=True):
        to[: len(row)] = row[:SHOWN]
    return result.numpy()
