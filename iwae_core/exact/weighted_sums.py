"""Exact mean and variance, at any k, of the gradient estimators that are weighted sums over samples.

Such an estimate is sum_i c_i a_i: a_i is a derivative at sample i, and c_i a polynomial in its normalised weight
w~_i = w_i / S, where S = sum_j w_j. Its moments are expectations of a_i a_j w_i^p w_j^q / S^n with n = p + q, and

    1 / S^n = 1 / Gamma(n) int_0^inf t^{n-1} e^{-t S} dt

splits each into what single samples contribute, because they are independent. With M(t) = E e^{-t w},

    E w~_i^p a_i              = 1 / Gamma(p) int t^{p-1} E[w^p a e^{-t w}] M^{k-1} dt,
    E w~_i^n a_i^2            = 1 / Gamma(n) int t^{n-1} E[w^n a^2 e^{-t w}] M^{k-1} dt,
    E w~_i^p a_i w~_j^q a_j   = 1 / Gamma(n) int t^{n-1} E[w^p a e^{-t w}] E[w^q a e^{-t w}] M^{k-2} dt.

In u = log t the integrands are smooth and vanish at both ends, so the trapezoid rule is as good as exact. float64.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from iwae_core.exact.laplace import log_transform
from iwae_core.exact.law import Law, log_evidence

STEP = 1 / 3  # an error of about e^{-pi^2 / STEP}
LOW = -42.0
# Where the weights of all k samples are below w with probability e^-38, the rest of the integral is nothing.
NEGLIGIBLE, HIGH = -60.0, -38.0
POWERS = 2  # the highest power of a normalised weight in any estimator
CEILING = 7.0  # e^{-e^7} is zero, and products with it stay finite
ELEMENTS = 2**18

# Powers of w~_i and their shares in c_i; the power 0 stands for 1/k.
Shares = Mapping[int, int | float]


class SumMoments(NamedTuple):
    """Mean and variance of one estimate at each k."""

    mean: Float64[Tensor, " ks"]
    variance: Float64[Tensor, " ks"]


class WeightedSums:
    """The transforms of one sample's weight and derivatives `[nodes, derivatives]`, for every k of `ks`.

    Raises:
        ValueError: a k below 1.
    """

    def __init__(self, law: Law, derivatives: Float64[Tensor, "nodes derivatives"], ks: Sequence[int]) -> None:
        if min(ks) < 1:
            raise ValueError(f"k counts samples, so it is at least 1; got {list(ks)}")
        order = law.log_weights.argsort()
        order = order[law.log_prob[order] > NEGLIGIBLE]
        log_weights, self.prob = law.log_weights[order] - log_evidence(law), law.log_prob[order].exp()
        self.ks, self.derivatives = tuple(ks), derivatives[order]
        smallest = min((k for k in ks if k > 1), default=2)
        least = log_weights[int((self.prob.cumsum(0) <= min(0.5, math.exp(HIGH / smallest))).sum())]
        self.u = torch.arange(LOW - math.log(max(ks)), 4.0 - float(least), STEP, dtype=torch.float64)
        self.log_m = log_transform(self.u, log_weights, law.log_prob[order])
        self.first, self.second = self._transforms(log_weights)

    def _transforms(self, log_weights: Tensor) -> tuple[Tensor, Tensor]:
        """t^p E[w^p a e^{-t w}] and t^n E[w^n a^2 e^{-t w}], `[power, u, derivative]`."""
        weighed = self.prob[:, None] * self.derivatives
        columns = torch.cat([weighed, weighed * self.derivatives], 1)
        parts = []
        for u in self.u.split(ELEMENTS // len(log_weights) + 1):
            y = (u[:, None] + log_weights).clamp(max=CEILING).exp()
            decay, powers = torch.exp(-y), []
            for _ in range(2 * POWERS + 1):
                powers.append(decay @ columns)
                decay = decay * y
            parts.append(torch.stack(powers))
        first, second = torch.cat(parts, 1).chunk(2, -1)
        return first[: POWERS + 1], second

    def moments(self, derivative: int, shares: Shares, one_sample: bool = False) -> SumMoments:
        """Mean and variance of sum_i c_i a_i at each k; with `one_sample`, of a_I with I drawn by the weights c."""
        pairs = [self._at(k, derivative, shares, one_sample) for k in self.ks]
        mean, square = torch.tensor(pairs, dtype=torch.float64).T
        return SumMoments(mean, (square - mean.square()).clamp(min=0))

    def _at(self, k: int, derivative: int, shares: Shares, one_sample: bool) -> tuple[float, float]:
        a = self.derivatives[:, derivative]
        plain, plain_square = float(self.prob @ a), float(self.prob @ a.square())
        if k == 1:  # every power of w~ is one, and the integrals would be as long as the left tail of log w
            total = sum(shares.values())
            return total * plain, (total if one_sample else total**2) * plain_square
        first, second = self.first[:, :, derivative], self.second[:, :, derivative]
        others, rest = ((k - out) * self.log_m for out in (1, 2))
        scaled = {p: share / k if p == 0 else share for p, share in shares.items()}
        mean = sum(k * c * (plain if p == 0 else self._integral(first[p], others, p)) for p, c in scaled.items())
        if one_sample:
            return mean, sum(k * c * self._integral(second[p], others, p) for p, c in scaled.items())
        square = 0.0
        for p, share in scaled.items():
            for q, other in scaled.items():
                if p + q == 0:
                    term = k * plain_square + k * (k - 1) * plain**2
                else:
                    term = k * self._integral(second[p + q], others, p + q)
                    term += k * (k - 1) * self._integral(first[p] * first[q], rest, p + q)
                square += share * other * term
        return mean, square

    def _integral(self, values: Tensor, log_m: Tensor, power: int) -> float:
        return STEP / math.gamma(power) * float(values @ log_m.exp())
