"""Log-weights `[k, batch]` about which the truth is known; shared by the tests of bounds, curves and diagnostics."""

import math
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound

SIX = [-1.0, 0.5, 2.0, -3.0, 0.0, 1.5]
SIXTEEN = (np.random.default_rng(12345).standard_normal(16) * 3 - 100).tolist()

# A model small enough to enumerate: z in {0, 1}^2, independent a priori with logits (0.2, -0.5); three binary pixels
# with logits W z + b, W = [[1, -2], [0.5, 1.5], [-1, 0.7]], b = (0.1, -0.3, 0.2), observed as x = (1, 0, 1); q has the
# logits (0.3, -0.4). Then log p(x) and, of z = 00, 01, 10, 11, q(z | x) and log w = log p(x, z) - log q(z | x) are
LOG_EVIDENCE = -2.404166973682941
Q = torch.tensor([0.254776013853372, 0.170781469334969, 0.34391164625908, 0.23053087055257898], dtype=torch.float64)
LOG_JOINT = [-3.0691066274853886, -5.616038953914778, -3.328790714006499, -5.425552417753623]
STATES = torch.tensor(LOG_JOINT, dtype=torch.float64) - Q.log()


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def normal_weights(k: int, batch: int, scale: float, seed: int = 0) -> Tensor:
    randomness = torch.Generator().manual_seed(seed)
    return scale * torch.randn(k, batch, dtype=torch.float64, generator=randomness) - 100


def gamma_weights(k: int, batch: int, shape: float, seed: int = 0) -> Tensor:
    """w from the Gamma law of mean 1 and shape 1 (exponential) or 1/2 (a squared normal), so that log p = 0."""
    randomness = torch.Generator().manual_seed(seed)
    w = torch.empty(k, batch, dtype=torch.float64)
    w = w.exponential_(generator=randomness) if shape == 1 else w.normal_(generator=randomness).square()
    return w.log()


def brute_force(log_weights: Tensor, m: int) -> Tensor:
    """The average of the m-sample bound over every m-subset, by visiting them all."""
    subsets = list(combinations(range(len(log_weights)), m))
    return torch.stack([iwae_bound(log_weights[list(subset)]) for subset in subsets]).mean(0)


def enumerated_mean(function: Callable[[Tensor], Tensor], k: int) -> float:
    """The exact mean of a function of k draws from the enumerable model, over all 4^k outcomes."""
    outcomes = torch.tensor(list(product(range(4), repeat=k))).T
    return float(Q[outcomes].prod(0) @ function(STATES[outcomes]))


def counted_mean(function: Callable[[Tensor], Tensor], k: int, q: Tensor = Q, states: Tensor = STATES) -> float:
    """The same for a function that ignores the order of its samples: over how often each state occurs."""
    counts = torch.tensor([c for c in product(range(k + 1), repeat=len(q) - 1) if sum(c) <= k])
    counts = torch.cat([counts, k - counts.sum(1, keepdim=True)], 1)
    log_probability = math.lgamma(k + 1) - torch.lgamma(counts.double() + 1).sum(1) + counts.double() @ q.log()
    outcomes = (torch.arange(k)[:, None, None] >= counts.cumsum(1)).sum(-1)
    return float(log_probability.exp() @ function(states[outcomes]))
