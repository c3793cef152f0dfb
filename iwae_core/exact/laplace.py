"""The Laplace transform of a weight with many nodes, M(t) = E e^{-t w}, along t = e^u, in bounded memory."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.autograd.function import once_differentiable

Nodes = Float64[Tensor, " n"]
Points = Float64[Tensor, " points"]
# From x = e^6 on, e^{-x} is zero, and below x = e^-50 it is one. In a block of u no x comes near overflow.
CEILING, FLOOR, BLOCK = 6.0, -50.0, 64
ELEMENTS = 2**18


def log_transform(u: Points, log_weights: Nodes, log_prob: Nodes) -> Points:
    """log M(e^u) = log sum_j e^{log_prob[j] - e^{u + log_weights[j]}}, for ascending u and log-weights and E w = 1.

    Computed from 1 - M, so that its power k keeps its digits for k up to 1e9 and beyond, and differentiable with
    respect to the law.
    """
    complement: Tensor = _OneMinusTransform.apply(u, log_weights, log_prob.exp())  # type: ignore[no-untyped-call]
    return torch.log1p(-complement.clamp(max=1 - 1e-16))


@torch.no_grad()
def square_transform(u: Points, log_weights: Nodes, log_prob: Nodes) -> Points:
    """E x^2 e^{-x} with x = w e^u, for ascending u and log-weights and E w = 1; not differentiable."""
    prob = log_prob.exp()
    return torch.cat([(x.square() * torch.exp(-x)) @ prob[a:b] for a, b, x in _blocks(u, log_weights)])


class _OneMinusTransform(torch.autograd.Function):
    """1 - M(e^u) = sum_j prob_j (1 - e^{-x_j}), x_j = e^{u + log w_j}. The backward pass computes the x_j anew."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, log_weights: Tensor, prob: Tensor) -> Tensor:
        ctx.save_for_backward(u, log_weights, prob)
        return torch.cat([prob[b:].sum() - torch.expm1(-x) @ prob[a:b] for a, b, x in _blocks(u, log_weights)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        u, log_weights, prob = ctx.saved_tensors
        grad_weights, grad_prob = torch.zeros_like(prob), torch.zeros_like(prob)
        parts = grad.split(_block_size(log_weights))
        for part, (a, b, x) in zip(parts, _blocks(u, log_weights), strict=True):
            grad_weights[a:b] += prob[a:b] * (part @ (x * torch.exp(-x)))
            grad_prob[a:b] -= part @ torch.expm1(-x)
            grad_prob[b:] += part.sum()
        return None, grad_weights, grad_prob


def _blocks(u: Tensor, log_weights: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """For each block of u the nodes a ... b whose e^{-x} is neither zero nor one, and their x [points, b - a].

    Where all x are small, 1 - M is about E x = e^u, so there a node may be left out only if its weight is small too.
    """
    for part in u.split(_block_size(log_weights)):
        ends = torch.stack([FLOOR - part[-1].clamp(min=0), CEILING - part[0]])
        a, b = torch.searchsorted(log_weights, ends).tolist()
        yield a, b, (part[:, None] + log_weights[a:b]).exp()


def _block_size(log_weights: Tensor) -> int:
    return min(BLOCK, ELEMENTS // len(log_weights) + 1)
