"""The same k log-weights put through two formulas: draws of one digit's weights under a shipped model, in nats."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_core.bounds.curves import nested_curve
from iwae_core.bounds.diagnostics import kl_from_uniform
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import LogWeights, normalized_weights
from iwae_core.evaluation.estimate import Floats
from iwae_core.evaluation.held_out import log_weights
from iwae_lab.shipped.models import digits, load

KS = (1, 2, 4, 8, 16, 32, 64)
TRAIL = 60
SETS = 80  # of max(KS) weights, made at once: so many redraws cost nothing


@dataclass(frozen=True, eq=False)
class Draw:
    """k log-weights, their normalised weights, and what the formulas make of them."""

    log_weights: Floats
    shares: Floats
    elbo: float
    elbo_error: float  # standard error of the mean of k logs; NaN at k = 1
    l_k: float
    kl: float  # KL(uniform || shares), which is l_k - elbo


@dataclass(frozen=True, eq=False)
class Expected:
    """What the formulas give on average at each k of `KS`, and the standard deviation of one draw around it."""

    elbo: float
    elbo_spread: Floats
    l_k: Floats
    l_k_spread: Floats


def draw(model: str, digit: int, k: int, redraw: int) -> Draw:
    """The first k weights of one set; `redraw` counts the sets."""
    turn, place = divmod(redraw, SETS)
    weights = pool(model, digit, turn).unflatten(0, (SETS, -1))[place, :k]
    error = float(weights.std(0) / k**0.5) if k > 1 else float("nan")
    mean, l_k, kl = (float(value) for value in (elbo(weights), iwae_bound(weights), kl_from_uniform(weights)))
    return Draw(weights[:, 0].numpy(), normalized_weights(weights)[:, 0].numpy(), mean, error, l_k, kl)


def trail(model: str, digit: int, k: int, redraw: int) -> tuple[Floats, Floats]:
    """What both formulas gave in the last `TRAIL` sets before this one, the log taken first and last."""
    earlier = [draw(model, digit, k, past) for past in range(max(0, redraw - TRAIL), redraw)]
    return np.array([past.elbo for past in earlier]), np.array([past.l_k for past in earlier])


def image(digit: int) -> NDArray[np.uint8]:
    """The digit, `[1, pixels]`, 0 to 255."""
    pixels: NDArray[np.uint8] = (255 * digits()[digit : digit + 1]).byte().numpy()
    return pixels


@lru_cache(maxsize=64)
def expected(model: str, digit: int) -> Expected:
    """Averages over `SETS` sets of max(KS) weights; for smaller k over as many more."""
    weights = pool(model, digit, 0)
    blocks = [weights.unflatten(0, (-1, k)) for k in KS]
    estimates = [torch.logsumexp(block, 1) - torch.tensor(k).log() for block, k in zip(blocks, KS, strict=True)]
    return Expected(
        elbo=float(elbo(weights)),
        elbo_spread=np.array([float(block.mean(1).std()) for block in blocks]),
        l_k=nested_curve(weights, KS)[:, 0].numpy(),
        l_k_spread=np.array([float(estimate.std()) for estimate in estimates]),
    )


@lru_cache(maxsize=64)
def pool(model: str, digit: int, turn: int) -> LogWeights:
    """All log-weights of so many sets, made at once; `turn` counts them."""
    return log_weights(load(model), digits()[digit : digit + 1], SETS * KS[-1], turn, first=digit)
