"""What trained networks with a latent plane do with one digit: the posterior, q, weighted draws and what is kept."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iwae_core.bounds import normalized_weights
from iwae_core.diagnostics import effective_sample_size
from iwae_core.exact import Law, exact_curve, log_evidence, resampled_law
from iwae_core.plane import SIDE, grid, latent_plane, log_joint
from iwae_core.pretrained import digits, load
from iwae_core.randomness import generator

Floats = NDArray[np.floating[Any]]
KS = (1, 2, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, eq=False)
class Plane:
    """Densities on a square grid, largest value 1, `[side, side]`, rows along the second unit; k draws; bounds in nats.

    The bounds are sums over the grid: as good as its spacing, and blind to what lies outside.
    """

    axes: tuple[Floats, Floats]
    posterior: Floats
    resampled: Floats
    mean: Floats
    scale: Floats
    draws: Floats  # [k, 2]
    shares: Floats  # [k]
    elbo: float
    l_k: float
    elbo_of_resampled: float
    log_p: float
    ess: float


@lru_cache(maxsize=256)
@torch.no_grad()
def plane(name: str, digit: int, k: int, redraw: int) -> Plane:
    """All about one shipped model, digit and k."""
    model, x = load(name), digits()[digit : digit + 1]
    points, law, mean, scale = _law(name, digit)
    noise = model.noise(KS[-1], 1, generator(redraw, "lesson network", digit))
    drawn = model.draw(x, tuple(layer[:k] for layer in noise))
    bounds = exact_curve(law, (1, k)).bound.tolist()
    kept = resampled_law(law, k)
    sides = points.reshape(SIDE, SIDE, 2).numpy()
    return Plane(
        axes=(sides[0, :, 0], sides[:, 0, 1]),
        posterior=_relative(law.log_prob + law.log_weights),
        resampled=_relative(kept.log_prob),
        mean=mean,
        scale=scale,
        draws=drawn.h[0][:, 0].numpy(),
        shares=normalized_weights(drawn.log_weights)[:, 0].numpy(),
        elbo=bounds[0],
        l_k=bounds[1],
        elbo_of_resampled=float(exact_curve(kept, (1,)).bound[0]),
        log_p=float(log_evidence(law)),
        ess=float(effective_sample_size(drawn.log_weights)[0]),
    )


@lru_cache(maxsize=64)
@torch.no_grad()
def _law(name: str, digit: int) -> tuple[torch.Tensor, Law, Floats, Floats]:
    """The grid of one model and digit, the law of log w on it, and q's mean and scale."""
    model, x = load(name), digits()[digit : digit + 1]
    found = latent_plane(model, x)
    points = grid(torch.from_numpy(found["plane_box"][0]))
    joint = log_joint(model, x, points).flatten().double()
    log_q = model.recognition(x, (points[:, None],))[:, 0].double()
    # Sums over the grid, times the area of a cell, are integrals; the area is part of what makes q sum to 1.
    law = Law(joint - log_q, torch.log_softmax(log_q, 0))
    return points, law, *found["plane_q"][0]


@lru_cache(maxsize=16)
@torch.no_grad()
def typical_width(name: str) -> float:
    """The standard deviation of q, the geometric mean over both units and the ten digits; the prior's is 1."""
    layer = load(name).recognition.layers[0]
    _, log_scale = layer.network(digits())
    return float(log_scale.mean().exp())


def _relative(log_prob: torch.Tensor) -> Floats:
    density: Floats = torch.exp(log_prob - log_prob.max()).reshape(SIDE, SIDE).numpy()
    return density
