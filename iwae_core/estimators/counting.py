r"""Backward through the rows that count: small pulls are rounded at random, and most of them to zero.

The gradient on one datum is a sum over its k samples, g = sum_i a_i r_i: sample i pulls with a_i, the derivative of the
surrogate in its log-density, along its own gradient r_i. Few samples carry most of the weight, and each costs the same
backward pass. With the threshold t = c (1/k) sum_j |a_j| and independent u_i, uniform on [0, 1),

    a^_i = a_i if |a_i| >= t,    else sign(a_i) t if u_i t < |a_i|,    else 0.

So row i is kept with probability p_i = min(1, |a_i| / t), and then pulls with a_i / p_i; the others take no part in the
backward pass. That is importance sampling of the terms of a sum (Horvitz & Thompson 1952), as Russian roulette ends the
paths of small weight in particle transport (Kahn & Harris 1951).

Unbiased: u is independent of the samples, so E[a^_i | samples] = p_i a_i / p_i = a_i. Hence
E g^ = E sum_i E[a^_i | samples] r_i = E g, whatever the estimator, its bias, and the sign and size of its pulls.
Added variance: sum_i |a_i| (t - |a_i|)^+ |r_i|^2, which is nothing at c = 0 and, with |a_i| <= t, at most t sum |a_i|
|r_i|^2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from iwae_core.bounds.weights import LogWeights
from iwae_core.draws import Cotangents
from iwae_core.estimators.estimator import Estimator
from iwae_core.registry import Registry


def thinned(pull: LogWeights, uniform: LogWeights, c: float) -> LogWeights:
    """a^ from the pulls a, with a coin u for each sample. What is not a number stays so, to be found."""
    size = pull.abs()
    threshold = c * size.mean(0)
    return torch.where(uniform * threshold >= size, 0.0, torch.maximum(size, threshold).copysign(pull))


def counting(pulls: Cotangents, uniform: LogWeights, c: float) -> Cotangents:
    """theta and phi each by its own pulls, from the same coins: a row that neither keeps is left out."""
    theta, p, q = pulls
    of_p = thinned(p, uniform, c)
    return Cotangents(of_p if theta is p else thinned(theta, uniform, c), of_p, thinned(q, uniform, c))


@dataclass(frozen=True)
class Backward:
    """Which rows a backward pass goes through: a function of the estimator that returns c, 0 for all of them."""

    c: Callable[[Estimator], float]
    label: str
    source: str = ""

    def __call__(self, estimator: Estimator) -> float:
        """c, for `counting`."""
        return self.c(estimator)


BACKWARDS: Registry[Backward] = Registry("backward pass", Backward)


@BACKWARDS.register("all", label="all rows")
def all_rows(estimator: Estimator) -> float:
    """Nothing is rounded."""
    return 0.0


@BACKWARDS.register("counting", label="the rows that count", source="Horvitz & Thompson 1952; Kahn & Harris 1951")
def rows_that_count(estimator: Estimator) -> float:
    """The c of the estimator, at which rounding adds less than a thousandth of the variance that there is."""
    return estimator.c
