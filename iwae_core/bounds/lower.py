"""Lower bounds of log p(x), each a function of log-weights."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch

from iwae_core.bounds.bound import BOUNDS
from iwae_core.bounds.weights import LogWeights, PerDatum, log_mean, normalized_weights


@BOUNDS.register(
    "elbo",
    label="minibatch ELBO",
    target="L_1",
    equation=r"\frac1k \sum_{i=1}^k \log w_i",
    source="Burda et al. 2016, eq. 3 and 7",
    lower=True,
)
def elbo(log_weights: LogWeights) -> PerDatum:
    """The k-sample minibatch ELBO, the average of the logs: (1/k) sum_i log w_i.

    Unbiased for L_1 = log p(x) - KL(q || p(h | x)) at every k: more samples shrink its error, never its distance from
    log p(x).
    """
    return log_weights.mean(0, dtype=torch.float64).to(log_weights.dtype)


@BOUNDS.register(
    "iwae",
    label="IWAE",
    target="L_k",
    equation=r"\log \frac1k \sum_{i=1}^k w_i",
    source="Burda et al. 2016, eq. 8",
    lower=True,
)
def iwae_bound(log_weights: LogWeights) -> PerDatum:
    """The importance weighted bound, the log of the average: log (1/k) sum_i w_i.

    Unbiased for L_k, which rises with k towards log p(x). Exceeds `elbo` of the same weights by exactly
    KL(uniform || w~), zero only if all weights are equal.
    """
    return log_mean(log_weights)


@BOUNDS.register(
    "renyi",
    label="Rényi",
    target="between L_1 and L_k",
    equation=r"\frac1{1-\alpha} \log \frac1k \sum_{i=1}^k w_i^{1-\alpha}",
    source="Li & Turner 2016",
    lower=True,
)
def renyi_bound(log_weights: LogWeights, alpha: int | float = 0.5) -> PerDatum:
    """The Rényi bound of order alpha, a power mean of the weights: log((1/k) sum_i w_i^(1 - alpha)) / (1 - alpha).

    It never rises with alpha, draw by draw: the largest log-weight at alpha = -inf, `iwae_bound` at 0, `elbo` at 1, the
    smallest log-weight at inf. A lower bound of log p(x) in the mean if alpha >= 0, else above it once k is large.

    Raises:
        ValueError: alpha is NaN.
    """
    if math.isnan(alpha):
        raise ValueError("alpha must be a number or an infinity; got NaN")
    if alpha == 1:
        return elbo(log_weights)
    if math.isinf(alpha):
        return log_weights.amax(0) if alpha < 0 else log_weights.amin(0)
    power = 1 - alpha
    extreme = log_weights.amax(0) if power > 0 else log_weights.amin(0)
    extreme = extreme.detach().clamp(min=torch.finfo(log_weights.dtype).min)
    # As alpha nears 1 every power nears 1. Measured from 1, by expm1 and log1p, no log k is there to cancel.
    excess = torch.expm1(power * (log_weights - extreme).double()).mean(0)
    return extreme + (torch.log1p(excess) / power).to(log_weights.dtype)


@BOUNDS.register(
    "ciwae",
    label="CIWAE",
    target="beta L_1 + (1 - beta) L_k",
    equation=r"\beta \frac1k \sum_{i=1}^k \log w_i + (1-\beta) \log \frac1k \sum_{i=1}^k w_i",
    source="Rainforth et al. 2018",
    lower=True,
)
def ciwae_bound(log_weights: LogWeights, beta: int | float = 0.5) -> PerDatum:
    """A convex combination of the two bounds: beta `elbo` + (1 - beta) `iwae_bound`.

    Raises:
        ValueError: beta is not from 0 to 1.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be from 0 to 1; got {beta}")
    # A bound of -inf counts for nothing if its share is zero.
    shares = ((beta, elbo), (1 - beta, iwae_bound))
    return torch.stack([share * bound(log_weights) for share, bound in shares if share > 0]).sum(0)


def balanced_repeats(k: int) -> int:
    """The divisor of k nearest its square root, the smaller of two that multiply to k: 8 of 64, 5 of 50, 1 of 7."""
    return next(m for m in range(math.isqrt(k), 0, -1) if k % m == 0)


@BOUNDS.register(
    "miwae",
    label="MIWAE",
    target="L_K with k = M K",
    equation=r"\frac1M \sum_{m=1}^M \log \frac1K \sum_{i=1}^K w_{m,i}",
    source="Rainforth et al. 2018",
    lower=True,
)
def miwae_bound(log_weights: LogWeights, repeats: int | None = None) -> PerDatum:
    """The average of M = `repeats` importance weighted bounds of K = k / M samples each: (1/M) sum_m log (1/K) sum_i w.

    Unbiased for L_K. The first K samples are the first group, and so on; M is `balanced_repeats(k)` if not given.

    Raises:
        ValueError: repeats does not divide k.
    """
    k = log_weights.shape[0]
    repeats = balanced_repeats(k) if repeats is None else repeats
    if repeats < 1 or k % repeats:
        raise ValueError(f"repeats must divide the k = {k} samples; got {repeats}; balanced_repeats(k) gives one")
    return log_mean(log_weights.double().unflatten(0, (repeats, -1)), 1).mean(0).to(log_weights.dtype)


@BOUNDS.register(
    "thermodynamic",
    label="TVO",
    target="a left Riemann sum for log p(x)",
    equation=r"\sum_j (\beta_{j+1}-\beta_j) \sum_{i=1}^k \frac{w_i^{\beta_j} \log w_i}{\sum_l w_l^{\beta_j}}",
    source="Masrani et al. 2019",
    lower=True,
)
def thermodynamic_bound(
    log_weights: LogWeights, betas: Sequence[int | float] = (0, 0.2, 1), side: Literal["left", "right"] = "left"
) -> PerDatum:
    """Thermodynamic integration by a Riemann sum: sum_j (beta_{j+1} - beta_j) sum_i w~_i log w_i.

    w~ are the normalised w^beta, with beta the left or the right end of its interval. The integrand never falls in beta
    and integrates to `iwae_bound`, so left <= `iwae_bound` <= right, draw by draw. As k grows the right sum passes
    log p(x). With betas (0, 1) the left sum is `elbo`.

    Raises:
        ValueError: betas that do not ascend from 0 to 1.
    """
    if [*betas[:1], *betas[-1:]] != [0, 1] or not all(a < b for a, b in pairwise(betas)):
        raise ValueError(f"betas must ascend from 0 to 1, such as (0, 0.2, 1); got {tuple(betas)}")
    points = {"left": betas[:-1], "right": betas[1:]}[side]
    values = log_weights.double()
    terms = [(b - a) * _tempered_mean(values, beta) for (a, b), beta in zip(pairwise(betas), points, strict=True)]
    return torch.stack(terms).sum(0).to(log_weights.dtype)


def _tempered_mean(log_weights: LogWeights, beta: int | float) -> PerDatum:
    """The mean of log w under weights w^beta, normalised."""
    if beta == 0:
        return elbo(log_weights)
    weights = normalized_weights(beta * log_weights)
    return (weights * log_weights.masked_fill(weights == 0, 0.0)).sum(0)
