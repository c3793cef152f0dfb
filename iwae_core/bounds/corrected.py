"""Estimates of log p(x) made from multi-sample bounds by correcting their bias."""

import math

import torch

from iwae_core.bounds.bound import BOUNDS
from iwae_core.bounds.curves import bound_curve, leave_one_out
from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.weights import LogWeights, PerDatum, normalized_weights


@BOUNDS.register(
    "jackknife",
    label="JVI",
    target="log p(x)",
    equation=r"\sum_{j=0}^m \frac{(-1)^j (k-j)^m}{(m-j)!\, j!} U_{k-j}",
    source="Nowozin 2018",
    lower=False,
    least_k=2,
)
def jackknife_bound(log_weights: LogWeights, order: int = 1) -> PerDatum:
    """The jackknife of order m: sum_{j=0}^m c_j U_{k-j}, with Sharot's c_j = (-1)^j (k - j)^m / ((m - j)! j!).

    U_n is the average of `iwae_bound` over all n-subsets. The bias falls from O(1/k) to O(k^-(m+1)), the variance
    rises, and the mean may exceed log p(x). Order 1 costs O(k) and is differentiable; orders 2 and 3 use `bound_curve`
    and carry no gradient. -inf where so many weights are zero that some U is -inf.

    Raises:
        ValueError: order is not 1, 2 or 3, or not below k.
    """
    k = log_weights.shape[0]
    if order not in (1, 2, 3) or k <= order:
        raise ValueError(f"the order must be 1, 2 or 3, and below the number of samples; got order {order}, k = {k}")
    # The terms are k^m times larger than their sum: float64.
    values = log_weights.double()
    if order == 1:
        averages = torch.stack([iwae_bound(values), leave_one_out(values).mean(0)])
    else:
        averages = bound_curve(values.detach(), k - order).flip(0)
    factorials = [math.factorial(order - j) * math.factorial(j) for j in range(order + 1)]
    terms = [(-1) ** j * (k - j) ** order / factorials[j] * averages[j] for j in range(order + 1)]
    undefined = (log_weights == -math.inf).sum(0) >= k - order
    return torch.stack(terms).sum(0).masked_fill(undefined, -math.inf).to(log_weights.dtype)


@BOUNDS.register(
    "delta",
    label="delta method",
    target="log p(x)",
    equation=r"\log \frac1k \sum_{i=1}^k w_i + \frac{\widehat{\mathrm{CV}}^2}{2k}",
    source="Nowozin 2018",
    lower=False,
    least_k=2,
)
def delta_method_bound(log_weights: LogWeights) -> PerDatum:
    """The bound with its leading bias estimated and removed: `iwae_bound` + CV^2 / (2k), CV = sd(w) / mean(w).

    At most 1/2 is added, however far away log p(x) is; the mean may exceed log p(x).

    Raises:
        ValueError: fewer than two samples.
    """
    k = log_weights.shape[0]
    if k < 2:
        raise ValueError(f"the spread of the weights needs at least 2 samples; got {k}")
    return iwae_bound(log_weights) + k / 2 * normalized_weights(log_weights).var(0)
