"""Log-weights, what a function of them returns, and their shares."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LogWeights = Float[Tensor, "k batch"]


PerDatum = Float[Tensor, " batch"]


def normalized_weights(log_weights: LogWeights) -> LogWeights:
    """w~_i = w_i / sum_j w_j, summing to 1 over the samples; uniform where every weight is zero."""
    impossible = (log_weights == -math.inf).all(0)
    return torch.softmax(log_weights.masked_fill(impossible, 0.0), 0)
