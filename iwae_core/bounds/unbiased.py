"""Unbiased estimates of log p(x) itself: the bounds' series L_1 + (L_2 - L_1) + ... cut at a random place.

Every datum of a batch has a cut of its own, so samples are asked for some of the data at a time: `draw(k, rows)`
returns the log-weights `[k, len(rows)]`, in nats, of k fresh samples for each datum whose index is in `rows`. There is
no limit to k, which would bring a bias; large k are rare and for few data. An unbiased estimate exists only if no
weight can be zero; where one is, the estimate is -inf. Gradients flow, and are unbiased for those of log p(x).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import LogWeights, PerDatum

Draw = Callable[[int, Tensor], LogWeights]
Sizes = Int[Tensor, " batch"]

# A level has half the samples of the next. Its difference has variance of order 4^-level and costs 2^level, so any
# ratio of the levels' probabilities between 1/4 and 1/2 keeps both finite; this is the middle.
RATIO = 2**-1.5
# The law of Luo et al. 2020: P(N >= j) = 1/j, which alone has an infinite mean, then geometric.
CAP, DECAY = 80, 0.9


def multilevel_log_evidence(draw: Draw, batch: int, randomness: torch.Generator) -> PerDatum:
    """Antithetic multilevel estimates of log p(x): (1/n) sum_i log w_i + D_l / P(l), with n = 2^(l+1) samples, where

        D_l = log mean w - (log mean of the first half + log mean of the second half) / 2,    E D_l = L_n - L_{n/2},

    and the level l = 0, 1, ... has P(l) = (1 - r) r^l, r = 2^-1.5, drawn for each datum. The halves cancel the noise of
    first order, so the variance is finite if enough moments of w and 1/w are, and the mean cost is 4.4 samples a datum.
    Estimates fall on both sides of log p(x): not bounds. Source: Blanchet & Glynn 2015; Shi & Cornish 2021.
    """
    levels = torch.empty(batch, dtype=torch.float64).geometric_(1 - RATIO, generator=randomness).long() - 1
    return _by_size(draw, 2 ** (levels + 1), _multilevel)


def sumo(draw: Draw, batch: int, randomness: torch.Generator) -> PerDatum:
    """SUMO estimates of log p(x): log w_1 + sum_{j=1}^N (B_{j+1} - B_j) / P(N >= j), B_j from the first j samples.

    P(N >= j) = 1/j up to j = 80, then falls by 0.9 a step: 6.1 samples a datum in the mean. **For comparison, not for
    use**: the squares of the differences fall like j^-2, so a finite variance needs P(N >= j) to fall slower than 1/j
    and a finite cost needs it to fall faster. As here the cost is finite, the variance is not: averages look settled
    until a rare long sum moves them. `multilevel_log_evidence` has both finite. Source: Luo et al. 2020.
    """
    # u is uniform in (0, 1], and N the last j with P(N >= j) >= u.
    u = 1 - torch.rand(batch, dtype=torch.float64, generator=randomness)
    terms = torch.where(u >= 1 / CAP, 1 / u, CAP + (CAP * u).log() / math.log(DECAY)).floor().long()
    return _by_size(draw, terms + 1, _sumo)


def _multilevel(log_weights: LogWeights) -> PerDatum:
    k = log_weights.shape[0]
    halves = (iwae_bound(log_weights[: k // 2]) + iwae_bound(log_weights[k // 2 :])) / 2
    probability: float = (1 - RATIO) * RATIO ** (math.log2(k) - 1)
    return elbo(log_weights) + (iwae_bound(log_weights) - halves) / probability


def _sumo(log_weights: LogWeights) -> PerDatum:
    j = torch.arange(1, log_weights.shape[0] + 1, dtype=torch.float64, device=log_weights.device)[:, None]
    bounds = torch.logcumsumexp(log_weights, 0) - j.log()
    inverse_probability = torch.where(j < CAP, j, CAP * DECAY ** (CAP - j))[:-1]
    return bounds[0] + (bounds.diff(dim=0) * inverse_probability).sum(0)


def _by_size(draw: Draw, sizes: Sizes, estimate: Callable[[LogWeights], PerDatum]) -> PerDatum:
    """The estimate of every datum from as many samples as its size says; data of one size are drawn together."""
    order = sizes.argsort(stable=True)
    values = []
    for rows in order.split(sizes.unique(return_counts=True)[1].tolist()):
        log_weights = draw(int(sizes[rows[0]]), rows)
        impossible = (log_weights == -math.inf).any(0)
        # Rare levels multiply rounding errors by the inverse of their probability: float64.
        value = estimate(log_weights.masked_fill(impossible, 0.0).double())
        values.append(value.masked_fill(impossible, -math.inf).to(log_weights.dtype))
    return torch.cat(values)[order.argsort()]
