"""Annealed importance sampling with Hamiltonian Monte Carlo: log p(x) of simulated data, between two bounds.

A path of unnormalised densities leads from one that can be sampled exactly, such as p(h) or q(h | x), to p(x, h),

    f_t(h) = start(h)^(1 - b_t) p(x, h)^b_t,    0 = b_0 < b_1 < ... < b_T = 1,

and K_t is a Markov kernel that leaves f_t invariant. Chains can follow the path from either end:

    w = prod_{t=1}^T f_t(h_{t-1}) / f_{t-1}(h_{t-1})
    forward     h_0 ~ start,            then h_t ~ K_t(h_{t-1})    for t = 1 ... T-1        E w   = p(x)
    reverse     h_{T-1} ~ p(h | x),     then h_{t-1} ~ K_t(h_t)    for t = T-1 ... 1        E 1/w = 1 / p(x)

The reverse chain is the same algorithm on the path walked backwards, where it estimates the inverse. (Where one end of
the path is zero and the other is not, = becomes <=.) By Jensen's inequality, for the mean over any number of chains,

    E log mean w  <=  log p(x)  <=  E -log mean 1/w.

An exact sample of the posterior is at hand for data simulated from the model: draw h from p(h), then x from p(x | h).
For other data only the lower bound holds. Both need kernels that know nothing of the chains that carry the weights:
step sizes adapted along the way would bias them. So `tune` chooses step sizes with chains of its own, then they are
fixed, and both directions use the very same kernels.

Sources: Neal 2001 (annealed importance sampling); Neal 2011 (Hamiltonian Monte Carlo); Grosse, Ghahramani & Adams 2015
(the upper bound); Wu, Burda, Salakhutdinov & Grosse 2017 (decoders).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.weights import PerDatum

Latents = Float[Tensor, "chains batch units"]
PerChain = Float[Tensor, "chains batch"]
StepSizes = Float[Tensor, "kernels batch"]
Density = Callable[[Latents], PerChain]
Report = Callable[[int], None]

# How sharply the temperatures gather at both ends of the path (Grosse et al. 2015).
STEEPNESS = 4.0
# The share of accepted proposals that is best in many dimensions (Neal 2011), and how tuning gets there.
ACCEPTANCE = 0.65
FIRST_STEP = 1.0
GAIN = 0.5
TRANSITIONS = 100
# Steps vary at random by up to this share, lest each trajectory last half a period and only mirror its start.
JITTER = 0.5


@dataclass(frozen=True)
class AnnealingPath:
    """The densities from `log_start`, normalised over h, to `log_target`, which is log p(x, h).

    Both take h `[chains, batch, units]` and return nats `[chains, batch]`; -inf is allowed. Each value depends on its
    own h alone, differentiably. Several stochastic layers are concatenated into one h.

    Raises:
        ValueError: inverse temperatures that do not ascend from 0 to 1, or no leapfrog step.
    """

    log_start: Density
    log_target: Density
    inverse_temperatures: tuple[float, ...]
    leapfrog_steps: int = 5

    def __post_init__(self) -> None:
        b = self.inverse_temperatures
        if len(b) < 2 or b[0] != 0 or b[-1] != 1 or any(here >= there for here, there in pairwise(b)):
            raise ValueError(f"inverse temperatures {b} do not ascend from 0 to 1; use inverse_temperatures(count)")
        if self.leapfrog_steps < 1:
            raise ValueError(f"{self.leapfrog_steps} leapfrog steps do not move a chain; use 1 or more")


class Point(NamedTuple):
    """Where the chains are: h, both log-densities there, in nats, and their gradients."""

    h: Latents
    log_start: PerChain
    log_target: PerChain
    start_gradient: Latents
    target_gradient: Latents

    def log_density(self, b: float) -> PerChain:
        """log f(h) = (1 - b) log start(h) + b log p(x, h), for 0 < b < 1."""
        return (1 - b) * self.log_start + b * self.log_target

    def gradient(self, b: float) -> Latents:
        """The gradient of log f in h."""
        return (1 - b) * self.start_gradient + b * self.target_gradient


class Bracket(NamedTuple):
    """Bounds on log p(x) of each datum, in nats. They hold in expectation: lower may exceed upper in a single draw."""

    lower: PerDatum
    upper: PerDatum


def inverse_temperatures(count: int) -> tuple[float, ...]:
    """b_0 = 0, ..., b_T = 1 for T = `count`: sigmoid(4 (2t/T - 1)), shifted and scaled to end at exactly 0 and 1.

    Source: Grosse et al. 2015.

    Raises:
        ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"a path of {count} temperatures leads nowhere; use 1 (importance sampling) or more")
    half = STEEPNESS / 2
    return tuple(0.5 + 0.5 * math.tanh(half * (2 * t / count - 1)) / math.tanh(half) for t in range(count + 1))


def bidirectional(
    path: AnnealingPath,
    sample_start: Callable[[torch.Generator], Latents],
    posterior: Latents,
    randomness: torch.Generator,
    report: Report = lambda done: None,
) -> Bracket:
    """E lower <= log p(x) <= E upper for each datum: kernels are tuned, fixed, and used in both directions.

    `sample_start(randomness)` draws a new h for every forward chain, exactly from the start, at each call. `posterior`
    holds an exact draw from p(h | x) for every reverse chain. They may share one (`h.expand(chains, -1, -1)`): the
    bound still holds, but then more temperatures bring it down to log p(x), and more chains alone do not. `report`
    hears how many temperatures are done, of 3T in all. Source: Grosse et al. 2015.
    """
    count = len(path.inverse_temperatures) - 1
    steps = tune(path, sample_start(randomness), randomness, report)
    forward = forward_log_weights(path, steps, sample_start(randomness), randomness, lambda done: report(count + done))
    reverse = reverse_log_weights(path, steps, posterior, randomness, lambda done: report(2 * count + done))
    return Bracket(iwae_bound(forward), -iwae_bound(-reverse))


def tune(
    path: AnnealingPath, start: Latents, randomness: torch.Generator, report: Report = lambda done: None
) -> StepSizes:
    """A step size for each of the kernels K_1 ... K_{T-1} and each datum, with about 65 % of proposals accepted.

    A preliminary run follows the path from `start`, moving log step in proportion to acceptance - 0.65. Neither these
    draws nor the draws from the posterior that begin the reverse chains may serve both here and for the weights.
    """
    point, kernels = visit(path, start), path.inverse_temperatures[1:-1]
    log_step = start.new_full(start.shape[1:2], math.log(FIRST_STEP))
    step_sizes = start.new_empty(len(kernels), len(log_step))
    for t, b in enumerate(kernels):
        for _ in range(max(1, TRANSITIONS // len(kernels))):
            point, acceptance = hmc(path, point, b, log_step.exp(), randomness)
            log_step += GAIN * (acceptance.mean(0) - ACCEPTANCE)
        step_sizes[t] = log_step.exp()
        report(t + 1)
    report(len(kernels) + 1)
    return step_sizes


def forward_log_weights(
    path: AnnealingPath,
    step_sizes: StepSizes,
    start: Latents,
    randomness: torch.Generator,
    report: Report = lambda done: None,
) -> PerChain:
    """log w of chains from exact draws of the start, in float64: `iwae_bound` of them is the lower bound.

    With T = 1 they are those of importance sampling, log p(x, h) - log start(h). Source: Neal 2001.

    Raises:
        ValueError: a chain that starts where its density is zero or where one is NaN, or not T-1 rows of step sizes.
    """
    return _anneal(path, path.inverse_temperatures, step_sizes, start, randomness, report)


def reverse_log_weights(
    path: AnnealingPath,
    step_sizes: StepSizes,
    posterior: Latents,
    randomness: torch.Generator,
    report: Report = lambda done: None,
) -> PerChain:
    """log w of chains from exact draws of p(h | x), in float64: -iwae_bound(-log w) is the upper bound.

    It is the forward algorithm on the path walked backwards: every ratio is inverted, so it yields 1/w.

    Raises:
        ValueError: a chain that starts where its density is zero or where one is NaN, or not T-1 rows of step sizes.
    """
    return -_anneal(path, path.inverse_temperatures[::-1], step_sizes.flip(0), posterior, randomness, report)


def _anneal(
    path: AnnealingPath,
    bs: tuple[float, ...],
    step_sizes: StepSizes,
    h: Latents,
    randomness: torch.Generator,
    report: Report,
) -> PerChain:
    """The log of the product of f_next(h) / f_here(h) along the inverse temperatures, in the order given."""
    if len(step_sizes) != len(bs) - 2:
        raise ValueError(f"{len(step_sizes)} rows of step sizes for {len(bs) - 2} kernels; use tune on this path")
    point = visit(path, h)
    own = point.log_start if bs[0] == 0 else point.log_target
    bad = int(((own == -math.inf) | (point.log_target - point.log_start).isnan()).sum())
    if bad:
        raise ValueError(
            f"{bad} of {own.numel()} chains start where the density they are drawn from is zero, or where a density "
            "is NaN; give exact draws, and log-densities that are numbers or -inf"
        )
    log_weights = torch.zeros_like(own, dtype=torch.float64)
    for t, (here, following) in enumerate(pairwise(bs)):
        log_weights += (following - here) * (point.log_target - point.log_start).double()
        if t < len(step_sizes):
            point, _ = hmc(path, point, following, step_sizes[t], randomness)
        report(t + 1)
    return log_weights


def hmc(
    path: AnnealingPath, point: Point, b: float, step_sizes: Float[Tensor, " batch"], randomness: torch.Generator
) -> tuple[Point, PerChain]:
    """One Hamiltonian Monte Carlo transition, which leaves f_b invariant, and its probability of acceptance.

    The momentum is fresh, of unit mass. A trajectory that diverges or ends where f_b is zero is rejected.
    Source: Neal 2011.
    """
    momentum = _draw(torch.randn, point.h, randomness)
    jitter = 1 + JITTER * (2 * _draw(torch.rand, point.log_start, randomness) - 1)
    proposal, final = leapfrog(path, point, momentum, b, (step_sizes * jitter).unsqueeze(-1))
    kinetic = 0.5 * (final.square() - momentum.square()).sum(-1)
    gain = proposal.log_density(b) - point.log_density(b) - kinetic
    acceptance = gain.nan_to_num(-math.inf, math.inf, -math.inf).clamp(max=0).exp()
    accepted = _draw(torch.rand, acceptance, randomness) < acceptance
    fields = (
        torch.where(accepted if new.ndim == 2 else accepted.unsqueeze(-1), new, old)
        for new, old in zip(proposal, point, strict=True)
    )
    return Point(*fields), acceptance


def leapfrog(
    path: AnnealingPath, point: Point, momentum: Latents, b: float, step_sizes: Float[Tensor, "chains batch 1"]
) -> tuple[Point, Latents]:
    """Discrete dynamics of the energy -log f_b(h) + |momentum|^2 / 2: reversible, and it preserves volume."""
    momentum = momentum + 0.5 * step_sizes * point.gradient(b)
    for step in range(1, path.leapfrog_steps + 1):
        # Densities never see NaN. A trajectory that comes to it is rejected, for its momentum stays NaN.
        point = visit(path, (point.h + step_sizes * momentum).nan_to_num())
        share = 0.5 if step == path.leapfrog_steps else 1.0
        momentum = momentum + share * step_sizes * point.gradient(b)
    return point, momentum


def visit(path: AnnealingPath, h: Latents) -> Point:
    """Both log-densities and their gradients at h; no graph is kept, and parameters get no gradient."""
    with torch.enable_grad():
        h = h.detach().requires_grad_()
        log_start, log_target = path.log_start(h), path.log_target(h)
        gradients = [torch.autograd.grad(log_density.sum(), h)[0] for log_density in (log_start, log_target)]
    return Point(h.detach(), log_start.detach(), log_target.detach(), *gradients)


def _draw(distribution: Callable[..., Tensor], like: Tensor, randomness: torch.Generator) -> Tensor:
    draw = distribution(like.shape, generator=randomness, dtype=like.dtype, device=randomness.device)
    return draw.to(like.device)
