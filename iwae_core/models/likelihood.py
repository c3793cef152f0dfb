"""log Bernoulli(x; logits), alone and together with the network that makes the logits.

Nearly all the time of a training step goes into the second, so its derivative is written out. Rows of samples do not
mix: the derivative of each row's value is found once, for a cotangent of one, and the cotangents only scale it. So
theta and phi can climb different functions at the price of one backward pass, tiny weights make no denormal numbers,
and what is scaled is the narrow side of each matrix product.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

LogDensity = Float[Tensor, "k batch"]
MANY = 8  # samples of each x from which on it is cheaper to multiply x by the weights than by every sample's logits


def bernoulli_log_likelihood(x: Float[Tensor, "*k batch units"], logits: Float[Tensor, "... units"]) -> LogDensity:
    """sum over units of x l - log(1 + e^l), from logits l, which cannot underflow."""
    return torch.einsum("...d,...d->...", x, logits) - softplus(logits).sum(-1)


def bernoulli_network_log_likelihood(
    x: Float[Tensor, "*k batch units"], h: Float[Tensor, "k batch _"], layers: Sequence[nn.Linear]
) -> LogDensity:
    """log Bernoulli(x; logits), the logits made from h by linear layers with tanh between; constant in x."""
    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    differentiate = torch.is_grad_enabled() and any(value.requires_grad for value in (h, *parameters))
    with torch.no_grad():
        rows = _Rows(x, h, parameters, differentiate)
    if not differentiate:
        return rows.value
    in_parameters: Tensor = _InParameters.apply(rows, *parameters)  # type: ignore[no-untyped-call]
    if not h.requires_grad:
        return rows.value + in_parameters
    in_h: Tensor = _InLatents.apply(rows, h, parameters[0])  # type: ignore[no-untyped-call]
    return in_h + in_parameters


class _Rows:
    """The network at every row of k x batch samples: its value, and the derivatives of each row's value.

    `inputs` are what each layer is given, and `errors` the derivatives in what each puts out before its tanh.
    """

    def __init__(self, x: Tensor, h: Tensor, parameters: Sequence[Tensor], differentiate: bool) -> None:
        weights, biases, shape = parameters[::2], parameters[1::2], h.shape[:-1]
        self.inputs = [h.reshape(-1, h.shape[-1])]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            self.inputs.append(torch.addmm(bias, self.inputs[-1], weight.T).tanh_())
        features, weight, bias = self.inputs[-1], weights[-1], biases[-1]
        logits = torch.addmm(bias, features, weight.T).view(*shape, -1)
        if x.ndim < h.ndim and len(h) >= MANY:  # x (W f + b) = (x W) f + x b
            agreement = (features.view(*shape, -1) * (x @ weight)).sum(-1) + x @ bias
        else:
            agreement = torch.einsum("...d,...d->...", x, logits)
        normaliser, error = _normaliser_and_error(x, logits, differentiate)
        if not math.isfinite(normaliser.sum()):  # an exponential overflowed
            logits = torch.addmm(bias, features, weight.T).view(*shape, -1)
            normaliser, error = softplus(logits).sum(-1), x - torch.sigmoid(logits)
        self.value = agreement - normaliser
        self.errors = [error.flatten(0, -2)]
        if differentiate:
            for weight, output in zip(weights[:0:-1], self.inputs[:0:-1], strict=True):
                error = self.errors[0] @ weight
                self.errors.insert(0, torch.ops.aten.tanh_backward.grad_input(error, output, grad_input=error))


def _normaliser_and_error(x: Tensor, logits: Tensor, differentiate: bool) -> tuple[Tensor, Tensor]:
    """sum log(1 + e^l), and x - sigmoid(l), from one exponential for each unit; not finite if it overflows."""
    odds = logits.exp_()
    total = odds + 1 if differentiate else odds.add_(1)
    error = torch.addcdiv(x, odds, total, value=-1, out=odds) if differentiate else odds
    for _ in range(2):  # one logarithm for each product of four
        if total.shape[-1] % 2 == 0:
            left, right = total.chunk(2, -1)
            total = left.mul_(right)
    return total.log().sum(-1), error


class _InLatents(torch.autograd.Function):
    """The value, as a function of h."""

    @staticmethod
    def forward(ctx: Any, rows: _Rows, h: Tensor, weight: Tensor) -> Tensor:
        ctx.errors = rows.errors[0]
        ctx.save_for_backward(weight)
        return rows.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        in_h = (ctx.errors @ weight).view(*gradient.shape, -1)
        return None, in_h.mul_(gradient.unsqueeze(-1)), None


class _InParameters(torch.autograd.Function):
    """Zero, with the derivatives of the value in the parameters: a backward pass to h alone then leaves them out."""

    @staticmethod
    def forward(ctx: Any, rows: _Rows, *parameters: Tensor) -> Tensor:
        ctx.inputs, ctx.errors = rows.inputs, rows.errors
        return torch.zeros_like(rows.value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale = gradient.reshape(-1)
        parts: list[Tensor | None] = [None]
        for error, inputs in zip(ctx.errors, ctx.inputs, strict=True):
            parts += [error.T @ (inputs * scale.unsqueeze(-1)), scale @ error]
        return tuple(parts)
