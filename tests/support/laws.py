"""Laws of a weight, and how numbers are compared with known ones."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from iwae_core.exact.cases import (
    standard_normal_grid,
)
from iwae_core.exact.law import (
    Law,
)

LOG_2PI = math.log(2 * math.pi)
KS = (1, 2, 5, 10, 50, 100, 1000)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: object, atol: float) -> None:
    expected = expected if isinstance(expected, Tensor) else double(expected)
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def gaussian_law(log_joint: Callable[[Tensor], Tensor], mean: Tensor, factor: Tensor) -> Law:
    """The law of log p(x, h) - log q(h) for h = mean + factor e [dims, dims], e standard normal."""
    noise, log_prob = standard_normal_grid(len(mean))
    log_q = -(noise.square() + LOG_2PI).sum(1) / 2 - torch.linalg.slogdet(factor).logabsdet
    return Law(log_joint(mean + noise @ factor.T) - log_q, log_prob)


def random_law(nodes: int, scale: float, seed: int) -> Law:
    randomness = torch.Generator().manual_seed(seed)
    log_weights, logits = torch.randn(2, nodes, dtype=torch.float64, generator=randomness)
    return Law(scale * log_weights - 100, torch.log_softmax(logits, 0))


def gamma_law(a: float) -> Law:
    """Weights of Gamma(a) law and mean 1, by the trapezoid rule over v = log w, of density ~ e^{a v - a e^v}."""
    v = torch.arange(-40 / a, 5 - math.log(a), 1 / 16, dtype=torch.float64)
    return Law(v, torch.log_softmax(a * (v - v.exp()), 0))


def tuples(law: Law, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every k-tuple of nodes [k, tuples], its log-weights [k, tuples] and its probability [tuples]."""
    nodes = torch.cartesian_prod(*[torch.arange(len(law.log_prob))] * k).reshape(-1, k).T
    return nodes, law.log_weights[nodes], law.log_prob[nodes].sum(0).exp()
