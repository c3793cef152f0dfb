"""What q learns as k grows, exactly: a posterior with two modes and a normal q; and four states, everything added up.

h ~ N(0, 1), x | h ~ N(h^2, 1/4), x = 2: the posterior has modes near -1.33 and 1.33, and q = N(mean, scale^2) has one.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from iwae_core.bounds.diagnostics import effective_sample_size, pareto_k_hat
from iwae_core.evaluation.estimate import Floats
from iwae_core.exact.cases import model_law
from iwae_core.exact.law import Law, exact_bound, exact_curve, log_evidence, resampled_law
from iwae_core.models.toys import Toy, bimodal, enumerable
from iwae_core.randomness import generator


class Normal(NamedTuple):
    """N(mean, scale^2)."""

    mean: float
    scale: float


# The two local maxima of L_k, from `fitted`: q on one mode, and q over both.
ONE_MODE = {
    1: Normal(1.330041, 0.187964),
    2: Normal(1.328778, 0.196228),
    3: Normal(1.327929, 0.199827),
    4: Normal(1.327317, 0.202250),
    5: Normal(1.326843, 0.204110),
    6: Normal(1.326457, 0.205639),
    8: Normal(1.325849, 0.208102),
    10: Normal(1.325375, 0.210084),
    20: Normal(1.323858, 0.216977),
    50: Normal(1.321462, 0.229780),
    100: Normal(1.318317, 0.247940),
}
BOTH_MODES = {
    4: Normal(0.0, 1.281203),
    5: Normal(0.0, 1.305365),
    6: Normal(0.0, 1.318911),
    8: Normal(0.0, 1.335429),
    10: Normal(0.0, 1.345550),
    20: Normal(0.0, 1.362980),
    50: Normal(0.0, 1.367465),
    100: Normal(0.0, 1.368204),
}
KS = tuple(ONE_MODE)
JUMP = 5  # from this k on, q over both modes is the better one

# Everywhere that q or the posterior may go, and the part worth drawing.
WHOLE, DRAWN = 12.0, 6.0
SPACING = 1 / 64
DIAGNOSED, TAIL, REPEATS = 50, 1000, 200  # draws for ESS, draws for k-hat, sets of the latter


@dataclass(frozen=True, eq=False)
class Picture:
    """Three densities on a grid of h, what the bounds make of q, in nats, and what diagnostics of its draws say."""

    h: Floats
    posterior: Floats
    q: Floats
    resampled: Floats
    elbo: float
    l_k: float
    elbo_of_resampled: float
    log_p: float
    ess: float
    k_hat: float


def best(k: int) -> Normal:
    """The q that maximises L_k, for a k of `KS`."""
    return BOTH_MODES[k] if k >= JUMP else ONE_MODE[k]


@lru_cache(maxsize=512)
@torch.no_grad()
def picture(q: Normal, k: int) -> Picture:
    """All about one q and k. Resampled: draw k from q, keep one by its weight (Cremer et al. 2017)."""
    toy = bimodal(*q)
    h, drawn = _law(toy, DRAWN)
    bounds = exact_curve(_law(toy, WHOLE)[1], (1, k)).bound.tolist()
    kept = resampled_law(drawn, k)
    ess, k_hat = diagnosed(q)
    return Picture(
        h=h.numpy(),
        posterior=_density(drawn.log_prob + drawn.log_weights - log_evidence(drawn)),
        q=_density(drawn.log_prob),
        resampled=_density(kept.log_prob),
        elbo=bounds[0],
        l_k=bounds[1],
        elbo_of_resampled=float(exact_bound(kept, 1)),
        log_p=float(toy.log_evidence(toy.x)),
        ess=ess,
        k_hat=k_hat,
    )


@lru_cache(maxsize=512)
@torch.no_grad()
def diagnosed(q: Normal) -> tuple[float, float]:
    """The mean ESS of `DIAGNOSED` draws from q, and the median k-hat of `TAIL` draws, simulated with a fixed seed."""
    toy = bimodal(*q)
    noise = toy.model.noise(TAIL, REPEATS, generator(0, "lesson q"))
    log_weights = toy.model.draw(toy.x, noise).log_weights
    ess = effective_sample_size(log_weights.reshape(DIAGNOSED, -1))
    return float(ess.mean()), float(pareto_k_hat(log_weights).median())


def fitted(k: int, start: Normal) -> Normal:
    """The local maximum of L_k over mean and scale that is reached from `start`."""
    toy = bimodal(*start)
    optimiser = torch.optim.LBFGS(
        toy.model.phi, max_iter=100, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -exact_bound(_law(toy, WHOLE)[1], k)
        value.backward()
        return value

    optimiser.step(loss)
    mean, log_scale = toy.model.phi
    return Normal(mean.item(), log_scale.exp().item())


class Augmented(NamedTuple):
    """Of the model with four states, at one k, in nats. `gap` = log p(x) - L_k is a KL in the space of k draws."""

    k: int
    l_k: float
    elbo_of_resampled: float
    gap: float
    kl_of_resampled: float
    resampled: Floats  # probabilities of the states 00, 01, 10, 11


@cache
@torch.no_grad()
def augmented(k: int) -> Augmented:
    """L_k as the ordinary ELBO of "draw k from q, keep one by its weight": Cremer et al. 2017, Domke & Sheldon 2018."""
    toy = enumerable()
    law = model_law(toy.model, toy.x)
    kept = resampled_law(law, k)
    log_p, l_k, elbo = float(log_evidence(law)), float(exact_bound(law, k)), float(exact_bound(kept, 1))
    return Augmented(k, l_k, elbo, log_p - l_k, log_p - elbo, kept.log_prob.exp().numpy())


@cache
@torch.no_grad()
def four_posteriors() -> Floats:
    """The posterior probabilities of the four states."""
    toy = enumerable()
    law = model_law(toy.model, toy.x)
    probabilities: Floats = torch.softmax(law.log_prob + law.log_weights, 0).numpy()
    return probabilities


def _law(toy: Toy, reach: float) -> tuple[Tensor, Law]:
    """The law of log w on a grid of h, fine enough for sums over it to be integrals; and the grid."""
    h = torch.arange(-reach, reach + SPACING / 2, SPACING, dtype=torch.float64)
    values = (h[:, None, None],)
    log_q = toy.model.recognition(toy.x, values)[:, 0]
    log_joint = toy.model.generative(toy.x, values)[:, 0]
    return h, Law(log_joint - log_q, torch.log_softmax(log_q, 0))


def _density(log_prob: Tensor) -> Floats:
    density: Floats = (log_prob.exp() / SPACING).numpy()
    return density
