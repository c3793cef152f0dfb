"""Exact answers for any k where the law of one log-weight is known: L_k, its estimator's variance, resampling.

One integral over the whole line does it. For any s > 0, log s = int e^{-e^u} - e^{-s e^u} du. Put the sum of k weights
for s, subtract the same for the number k, and take expectations. The weights are independent, so all that enters is
the Laplace transform M(t) = E e^{-t w} of one of them:

    L_k = int e^{-k e^u} - M(e^u)^k du.

The integrand is analytic within pi/2 of the real line, so the trapezoid rule errs by about e^{-pi^2 / STEP}, less than
rounding. Everything is float64, in nats, and differentiable with respect to the law.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from iwae_core.exact.laplace import Nodes, Points, log_transform, square_transform

Scalar = Float64[Tensor, ""]
EULER = 0.5772156649015329  # minus the mean of the log of an Exp(1) variable
STEP = 0.25
# A node of probability e^-60 is not seen in 1e9 samples, whatever its weight.
NEGLIGIBLE = -60.0
# What is left out at either end of the integral: below e^-42 of the weight, and where M^k is less than e^-38.
LOW, HIGH = -42.0, -38.0
# Nodes times points of u in memory at a time.
ELEMENTS = 2**18


@dataclass(frozen=True, eq=False)
class Law:
    """The law of one log-weight of one datum: it is `log_weights[j]` with probability exp(`log_prob[j]`).

    Nodes are the states of a discrete h, or the points of a grid over the noise. A log-weight of -inf is a state that
    q proposes and the model calls impossible: it makes every L_k -inf, since k samples may all be of that kind.

    Raises:
        ValueError: not float64, NaN or +inf among the log-weights, or probabilities that do not sum to 1.
    """

    log_weights: Nodes
    log_prob: Nodes

    def __post_init__(self) -> None:
        if self.log_weights.dtype != torch.float64 or self.log_prob.dtype != torch.float64:
            raise ValueError(f"a law is float64; got {self.log_weights.dtype}, {self.log_prob.dtype}: use .double()")
        if bool((self.log_weights.isnan() | (self.log_weights == math.inf)).any()):
            raise ValueError("log-weights are finite or -inf; got NaN or +inf: leave out nodes of probability zero")
        total = float(self.log_prob.detach().exp().sum())
        if not abs(total - 1) < 1e-9 or bool((self.log_prob == -math.inf).any()):
            raise ValueError(f"probabilities are positive and sum to 1; got {total}: use log_softmax(log_prob, 0)")


class ExactCurve(NamedTuple):
    """For each k of a sequence: L_k, and the variance of log (1/k) sum_i w_i, its one-draw estimate."""

    bound: Points
    variance: Points


def exact_bound(law: Law, k: int) -> Scalar:
    """L_k = E log (1/k) sum_i w_i to about 1e-14, at a cost that hardly depends on k; see `exact_curve`.

    Its derivative by log_weights[j] is the probability that resampling keeps node j: `resampled_log_prob`.
    """
    return exact_curve(law, (k,)).bound[0]


def exact_curve(law: Law, ks: Sequence[int]) -> ExactCurve:
    """L_k and the variance of its estimator for each k, by the integral above; the smallest k > 1 sets the cost.

    For Exp(1) noise e, the logs of e / mean(w) and of e have distribution functions that differ by
    D = M(e^u)^k - e^{-k e^u}. With E w = 1 and v = u + log k, integrating by parts gives

        log p - L_k = int D du,        variance = 2 int (v + 0.5772...) D du - (int D du)^2.

    Raises:
        ValueError: no k, or one below 1.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"k counts samples, so it is at least 1; got {list(ks)}")
    if _may_be_impossible(law):
        nowhere = law.log_weights.new_full((len(ks),), -math.inf)
        return ExactCurve(nowhere, nowhere * math.nan)
    log_weights, log_prob, centre = _centred(law)
    u = _grid(log_weights, log_prob, ks)
    k = torch.tensor(ks, dtype=torch.float64)[:, None]
    difference = torch.expm1(k * log_transform(u, log_weights, log_prob)) - torch.expm1(-k * u.exp())
    gap = STEP * difference.sum(1)
    variance = 2 * STEP * ((u + k.log() + EULER) * difference).sum(1) - gap.square()
    # At k = 1 both are plain moments, and the integral's range would be as long as the left tail of log w.
    mean = log_prob.exp() @ log_weights
    one = k[:, 0] == 1
    return ExactCurve(
        centre + torch.where(one, mean, -gap),
        torch.where(one, log_prob.exp() @ (log_weights - mean).square(), variance.clamp(min=0)),
    )


def log_evidence(law: Law) -> Scalar:
    """log p(x) = log E w, the limit of L_k."""
    return torch.logsumexp(law.log_weights + law.log_prob, 0)


def chi_squared(law: Law) -> Scalar:
    """The chi-squared divergence of the posterior from q, E (w / p(x) - 1)^2; the gap tends to chi^2 / 2k.

    Nodes are finitely many, so this is finite even where the law that they stand for has no second moment.
    """
    log_relative = law.log_weights - log_evidence(law)
    # Far out a probability may be too small, and a squared weight too large, for a number that their product is not.
    return (torch.exp(law.log_prob + 2 * log_relative.relu()) * torch.expm1(-log_relative.abs()).square()).sum()


def expansion(law: Law, k: int) -> Float64[Tensor, "3"]:
    """The first terms of L_k - log p(x) in powers of 1/k, with m_j = E (w / p(x) - 1)^j; the first is -chi^2 / 2k:

        -m_2/2 1/k,    (m_3/3 - 3 m_2^2/4) 1/k^2,    -((m_4 - 3 m_2^2)/4 - 2 m_2 m_3 + 5 m_2^3/2) 1/k^3.

    Good only for k well above chi^2, and only if the moments exist. Source: the delta method; Nowozin 2018, prop. 1,
    whose term in 1/k^3 lacks 5 m_2^3/2 (for Exp(1) weights, L_k = psi(k) - log k has none in 1/k^3).
    """
    relative = torch.expm1(law.log_weights - log_evidence(law))
    m2, m3, m4 = (law.log_prob.exp() @ relative**j for j in (2, 3, 4))
    cubic = (m4 - 3 * m2**2) / 4 - 2 * m2 * m3 + 5 * m2**3 / 2
    return torch.stack([-m2 / 2, m3 / 3 - 3 * m2**2 / 4, -cubic]) / float(k) ** torch.arange(1, 4)


def inverse_sample_size(law: Law, ks: Sequence[int]) -> Points:
    """E sum_i w~_i^2 = E 1/ESS for each k, from 1/k (equal weights) to 1; not differentiable.

        E sum_i w~_i^2 = k int_0^inf t E[w^2 e^{-t w}] M(t)^{k-1} dt,

    since 1/s^2 = int_0^inf t e^{-t s} dt.

    Raises:
        ValueError: a k below 1, or a log-weight of -inf: then all k samples may be impossible.
    """
    if min(ks, default=0) < 1 or _may_be_impossible(law):
        least = float(law.log_weights.min())
        raise ValueError(f"needs k >= 1 and log-weights above -inf; got k = {list(ks)} and a least one of {least}")
    log_weights, log_prob, _ = _centred(law)
    u = _grid(log_weights, log_prob, ks)
    square, log_others = square_transform(u, log_weights, log_prob), log_transform(u, log_weights, log_prob)
    k = torch.tensor(ks, dtype=torch.float64)[:, None]
    shares = (STEP * k * square * torch.exp((k - 1) * log_others)).sum(1)
    return torch.where(k[:, 0] == 1, 1.0, shares)


def resampled_log_prob(law: Law, k: int) -> Nodes:
    """log q_EW of each node: draw k samples from q, keep one with probability w~_i; where does it lie?

        q_EW(h) = k q(h) E w(h) / (w(h) + k - 1 other weights) = k p(x, h) int_0^inf e^{-t w(h)} M(t)^{k-1} dt,

    which is q at k = 1 and tends to the posterior. On a grid, subtract the log-prob of q's nodes to compare densities.
    Source: Cremer et al. 2017 for q_EW; the integral is 1/s = int_0^inf e^{-t s} dt under the expectation.

    Raises:
        ValueError: k below 1, or a log-weight of -inf: then all k samples may be impossible and none can be kept.
    """
    if k < 1 or _may_be_impossible(law):
        least = float(law.log_weights.detach().min())
        raise ValueError(f"resampling takes k >= 1 and log-weights above -inf; got k = {k} and a least one of {least}")
    if k == 1:
        return law.log_prob
    log_weights, log_prob, centre = _centred(law)
    relative = law.log_weights - centre
    u = _grid(log_weights, log_prob, (k,), below=max(0.0, float(relative.detach().max())))
    others = u + (k - 1) * log_transform(u, log_weights, log_prob)
    parts = relative.split(ELEMENTS // len(u) + 1)
    integrals = torch.cat([torch.logsumexp(others - (part[:, None] + u).exp(), 1) for part in parts])
    return math.log(k * STEP) + law.log_prob + relative + integrals


def resampled_law(law: Law, k: int) -> Law:
    """The law of log p(x, h) - log q_EW(h) for h from q_EW. Its L_1 lies between L_k of the given law and log p(x).

    Source: Cremer et al. 2017; Domke & Sheldon 2018. Raises ValueError as `resampled_log_prob` does.
    """
    log_prob = resampled_log_prob(law, k)
    return Law(law.log_prob + law.log_weights - log_prob, log_prob)


def _may_be_impossible(law: Law) -> bool:
    return bool((law.log_weights == -math.inf).any())


def _centred(law: Law) -> tuple[Nodes, Nodes, Scalar]:
    """The nodes that may be seen, in order of weight, scaled to E w = 1; and the log of the scale, a constant."""
    centre = log_evidence(law).detach()
    order = law.log_weights.detach().argsort()
    log_weights, log_prob = law.log_weights[order] - centre, law.log_prob[order]
    seen = log_prob > NEGLIGIBLE
    return log_weights[seen], log_prob[seen], centre


def _grid(log_weights: Nodes, log_prob: Nodes, ks: Sequence[int], below: float = 0.0) -> Points:
    """Points u that cover the integral for every k > 1 of `ks`.

    M(e^u) is at most the probability of weights below w, plus e^{-e^u w}: so the right end goes by the largest w at
    which M^k is negligible. For large k that is the median, though the left tail be as long as it likes.
    """
    smallest = min((k for k in ks if k > 1), default=math.inf)
    tail = min(0.5, math.exp(HIGH / smallest))
    least = log_weights.detach()[int((log_prob.detach().exp().cumsum(0) <= tail).sum())]
    return torch.arange(LOW - max(below, math.log(max(ks))), 4.0 - float(least), STEP, dtype=torch.float64)
