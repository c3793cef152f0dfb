"""Log-weights, what a function of them returns, and their shares."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LogWeights = Float[Tensor, "k batch"]


PerDatum = Float[Tensor, " batch"]


def log_mean(log_weights: Float[Tensor, "..."], dim: int = 0) -> Float[Tensor, "..."]:
    """log of the mean of the weights. In float64: its derivative would have the rounding of its value otherwise."""
    total = torch.logsumexp(log_weights.double(), dim) - math.log(log_weights.shape[dim])
    return total.to(log_weights.dtype)


def normalized_weights(log_weights: LogWeights) -> LogWeights:
    """w~_i = w_i / sum_j w_j, summing to 1 over the samples; uniform where every weight is zero."""
    impossible = (log_weights == -math.inf).all(0)
    return torch.softmax(log_weights.masked_fill(impossible, 0.0), 0)
