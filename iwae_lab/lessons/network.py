"""What trained networks with a latent plane do with one digit: the posterior, q, weighted draws and what is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.bounds.weights import normalized_weights
from iwae_core.evaluation.estimate import Floats
from iwae_core.evaluation.plane import SIDE, grid, latent_plane, log_joint
from iwae_core.exact.law import Law, exact_curve, log_evidence, resampled_law
from iwae_core.randomness import generator
from iwae_lab.shipped.models import digits, load

KS = (1, 2, 5, 10, 20, 50, 100, 200)
FINER = ((4, 300), (4, 300))  # a trained decoder's posterior has features far narrower than q


@dataclass(frozen=True, eq=False)
class Plane:
    """Densities on a square grid, largest value 1, `[side, side]`, rows along the second unit; k draws; bounds in nats.

    The bounds are sums over a grid that is finer where the posterior is, and blind to what lies outside the square.
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
    sides, shown, mean, scale = _law(name, digit, ())
    law = _law(name, digit, FINER)[1]
    noise = model.noise(KS[-1], 1, generator(redraw, "lesson network", digit))
    drawn = model.draw(x, tuple(layer[:k] for layer in noise))
    bounds = exact_curve(law, (1, k)).bound.tolist()
    kept = resampled_law(law, k)
    return Plane(
        axes=(sides[:SIDE, 0].numpy(), sides[::SIDE, 1].numpy()),
        posterior=_relative(shown.log_prob + shown.log_weights),
        resampled=_relative(resampled_law(shown, k).log_prob),
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
def _law(name: str, digit: int, finer: Sequence[tuple[int, int]]) -> tuple[Tensor, Law, Floats, Floats]:
    """The grid of one model and digit, the law of log w on it, and q's mean and scale.

    For each (m, count) of `finer`, the so many cells with the largest p(x, h) become m x m each.
    """
    model, x = load(name), digits()[digit : digit + 1]
    found = latent_plane(model, x)
    box = torch.from_numpy(found["plane_box"][0])
    points, joint = grid(box), log_joint(model, x, grid(box)).flatten()
    sides = (2 * box[2] / (SIDE - 1)).expand(len(points))
    for m, count in finer:
        split = joint >= joint.topk(count).values[-1]
        steps = (torch.arange(m) + 0.5) / m - 0.5
        parts = points[split, None] + sides[split, None, None] * torch.cartesian_prod(steps, steps)
        joint = torch.cat([joint[~split], log_joint(model, x, parts.flatten(0, 1)).flatten()])
        points = torch.cat([points[~split], parts.flatten(0, 1)])
        sides = torch.cat([sides[~split], (sides[split] / m).repeat_interleave(m * m)])
    log_q = model.recognition(x, (points[:, None],))[:, 0].double()
    # Sums over the grid, times the area of a cell, are integrals; the area is part of what makes q sum to 1.
    return points, Law(joint.double() - log_q, torch.log_softmax(log_q + 2 * sides.log(), 0)), *found["plane_q"][0]


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
