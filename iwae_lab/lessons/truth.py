"""How far L_k is from a known log p(x) as k grows, and what the corrections of its bias leave; in nats.

The posterior is standard normal and q normal: `ratio` times its variance, `shift` of its standard deviations away.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from iwae_core.evaluation.estimate import Floats
from iwae_core.exact.cases import gaussian_mismatch_chi_squared, gaussian_mismatch_law
from iwae_core.exact.law import exact_curve, inverse_sample_size, log_evidence

CURVE_KS = tuple(sorted({round(10 ** (j / 6)) for j in range(37)}))  # 1 to a million
ORDERS = (1, 2)  # of the jackknife
ROUNDING = 1e-13  # of L_k; the jackknife of order m multiplies it by k^m


@dataclass(frozen=True, eq=False)
class Gaps:
    """At each k: log p(x) minus L_k, and minus the means of bounds whose bias is corrected; NaN where not known.

    `kl` is KL(q || p), the gap of the ELBO at every k; `chi_squared` may be infinite.
    """

    ks: NDArray[np.int64]
    l_k: Floats
    delta: Floats
    jackknife: tuple[Floats, ...]  # of each of `ORDERS`
    kl: float
    chi_squared: float

    def at(self, k: int) -> float:
        """The gap of L_k at one k of the grid."""
        return float(self.l_k[self.ks == k][0])

    def needed(self, gap: float) -> int | None:
        """The smallest k of the grid whose gap is no larger; None if there is none."""
        within = self.ks[self.l_k <= gap]
        return int(within[0]) if len(within) else None


@lru_cache(maxsize=256)
def gaps(ratio: float, shift: float, dims: int, ks: tuple[int, ...] = CURVE_KS) -> Gaps:
    """All of it, exact, for one mismatch. Sources: Burda et al. 2016, Nowozin 2018."""
    law = gaussian_mismatch_law(ratio, shift, dims)
    sizes = sorted({size for k in ks for size in range(max(1, k - ORDERS[-1]), k + 1)})
    bounds = dict(zip(sizes, (exact_curve(law, sizes).bound - log_evidence(law)).tolist(), strict=True))
    shares = inverse_sample_size(law, ks).tolist()
    return Gaps(
        ks=np.array(ks),
        l_k=np.array([max(-bounds[k], 0.0) for k in ks]),
        delta=np.array([-delta_method_mean(bounds[k], k, share) for k, share in zip(ks, shares, strict=True)]),
        jackknife=tuple(np.array([-jackknife_mean(bounds, k, order) for k in ks]) for order in ORDERS),
        kl=kl(ratio, shift, dims),
        chi_squared=gaussian_mismatch_chi_squared(ratio, shift, dims),
    )


def kl(ratio: float, shift: float, dims: int) -> float:
    """KL(q || p) = (dims (ratio - 1 - log ratio) + shift^2) / 2."""
    return (dims * (ratio - 1 - math.log(ratio)) + shift**2) / 2


def slope(ratio: float) -> float:
    """The power of 1/k by which the gap falls in the end: 1, or ratio / (1 - ratio) where chi^2 is infinite.

    For a narrow q, P(w > t) falls like t^(-1 / (1 - ratio)), and the gap like what the largest of k weights leaves out.
    """
    return 1.0 if ratio > 0.5 else ratio / (1 - ratio)


def jackknife_mean(bounds: Mapping[int, float], k: int, order: int) -> float:
    """E `jackknife_bound` of k samples: Sharot's combination of L_k, ..., L_{k - order}; NaN unless k > order.

    `bounds` are L_k - log p(x), and so is the result; NaN also where it is so small that only rounding is left, for the
    coefficients grow like k^order. Source: Nowozin 2018.
    """
    if k <= order:
        return math.nan
    factors = [math.factorial(order - j) * math.factorial(j) for j in range(order + 1)]
    mean = sum((-1) ** j * (k - j) ** order / factors[j] * bounds[k - j] for j in range(order + 1))
    return mean if abs(mean) > ROUNDING * k**order else math.nan


def delta_method_mean(bound: float, k: int, inverse_sample_size: float) -> float:
    """E `delta_method_bound` of k samples: L_k + (k E sum_i w~_i^2 - 1) / (2 (k - 1)); NaN if k is 1."""
    return bound + (k * inverse_sample_size - 1) / (2 * (k - 1)) if k > 1 else math.nan
