"""How unequal the weights are, and what that says about the bound and about q; log-weights `[k, batch]`, in nats.

Where every weight is zero the normalised weights are uniform, and so say all diagnostics. None of them can see what no
sample has reached: a q that misses a mode of the posterior may have nearly equal weights.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.weights import LogWeights, PerDatum, normalized_weights

SMALLEST_TAIL = 25  # samples; their five largest weights are fitted


def effective_sample_size(log_weights: LogWeights) -> PerDatum:
    """ESS = 1 / sum_i w~_i^2, between 1 (one sample carries all the weight) and k (all weights equal)."""
    return normalized_weights(log_weights).square().sum(0).reciprocal()


def perplexity(log_weights: LogWeights) -> PerDatum:
    """exp(-sum_i w~_i log w~_i), an effective sample size by entropy, from 1 to k and never below ESS."""
    entropy: Tensor = torch.special.entr(normalized_weights(log_weights)).sum(0)
    return entropy.exp()


def largest_weight(log_weights: LogWeights) -> PerDatum:
    """max_i w~_i, from 1/k to 1."""
    return normalized_weights(log_weights).amax(0)


def kl_from_uniform(log_weights: LogWeights) -> PerDatum:
    """KL(uniform || w~) = -(1/k) sum_i log(k w~_i) = `iwae_bound` - `elbo`, in nats; inf if some, not all, are zero.

    Source: the difference of Burda et al. 2016, eq. 8 and 7, on the same samples.
    """
    impossible = (log_weights == -math.inf).all(0)
    log_shares = torch.log_softmax(log_weights.masked_fill(impossible, 0.0), 0)
    return (-log_shares.mean(0) - math.log(log_weights.shape[0])).clamp(min=0.0)


def squared_coefficient_of_variation(log_weights: LogWeights) -> PerDatum:
    """CV^2 = var(w) / mean(w)^2 of the sampled weights, k^2 sum_i (w~_i - 1/k)^2 / (k - 1) = k (k / ESS - 1) / (k - 1).

    Estimates chi^2(p(h | x) || q), which may be infinite. The estimate never exceeds k: a value of that order says only
    that k samples are too few.

    Raises:
        ValueError: fewer than two samples.
    """
    k = log_weights.shape[0]
    if k < 2:
        raise ValueError(f"the spread of the weights needs at least 2 samples; got {k}")
    return k**2 * normalized_weights(log_weights).var(0)


def plug_in_variance(log_weights: LogWeights) -> PerDatum:
    """The variance of `iwae_bound` over draws of its k samples, to first order in 1/k: CV^2 / k. Source: Nowozin 2018.

    Raises:
        ValueError: fewer than two samples.
    """
    return squared_coefficient_of_variation(log_weights) / log_weights.shape[0]


def plug_in_bias(log_weights: LogWeights) -> PerDatum:
    """L_k - log p(x) to first order in 1/k: -CV^2 / (2k), half the variance. Never below -1/2, whatever the truth.

    Source: Nowozin 2018.

    Raises:
        ValueError: fewer than two samples.
    """
    return -plug_in_variance(log_weights) / 2


def pareto_k_hat(log_weights: LogWeights) -> PerDatum:
    """k-hat, the shape of a generalised Pareto distribution fitted to the largest weights: w has moments up to 1/k-hat.

    Above 1/2 the variance of the weights is infinite; below min(1 - 1/log10(k), 0.7) averages over weights are taken as
    reliable. Fitted are the ceil(min(k/5, 3 sqrt(k))) largest weights minus the next one, by the weighted average of
    Zhang & Stephens 2009, shrunk towards 1/2 as if by ten more weights. The fit has large errors below k of about 100;
    NaN below 25. If all weights are equal there is no tail, and the value is far below 0.
    Source: Vehtari et al. 2024, Pareto smoothed importance sampling.
    """
    if log_weights.shape[0] < SMALLEST_TAIL:
        return log_weights.new_full(log_weights.shape[1:], math.nan)
    tail = _tail(log_weights)
    n, top = len(tail), tail[-1]
    grid = 30 + math.isqrt(n)
    quartile = tail[math.floor(n / 4 + 0.5) - 1]
    rates, shapes = [], []
    for j in range(1, grid + 1):
        rate = 1 / top + (1 - math.sqrt(grid / (j - 0.5))) / (3 * quartile)
        rate = torch.where(rate == 0, 1e-9 / top, rate)
        rates.append(rate)
        shapes.append(torch.log1p(-rate * tail).mean(0))
    rate, shape = torch.stack(rates), torch.stack(shapes)
    likelihood = n * (torch.log(-rate / shape) - shape - 1)
    mean_rate = (torch.softmax(likelihood, 0) * rate).sum(0)
    fitted = torch.log1p(-mean_rate * tail).mean(0)
    return ((n * fitted + 10 * 0.5) / (n + 10)).to(log_weights.dtype)


def _tail(log_weights: LogWeights) -> Float[Tensor, "tail batch"]:
    """The largest weights, ascending, each minus the largest weight below them, in units of the largest of all."""
    k = log_weights.shape[0]
    size = math.ceil(min(0.2 * k, 3 * math.sqrt(k)))
    largest = torch.topk(log_weights.double(), size + 1, 0).values.flip(0)
    top = largest[-1].clamp(min=torch.finfo(torch.float64).min)
    weights = torch.exp(largest - top)
    # Differences below the rounding of log-weights are not differences; no weight and no difference has a log of -inf.
    rounding = weights[1:] * torch.finfo(log_weights.dtype).eps * (1 + top.abs())
    return torch.maximum(weights[1:] - weights[0], rounding).clamp(min=1e-300)
