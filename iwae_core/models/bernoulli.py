"""log Bernoulli(x; logits), alone and together with the network that makes the logits.

Nearly all the time of a training step goes into the second, so its derivative is written out. Rows of samples do not
mix: the derivative of each row's value is found once, for a cotangent of one, and the cotangents only scale it. So
theta and phi can climb different functions at the price of one backward pass, tiny weights make no denormal numbers,
and what is scaled is the narrow side of each matrix product.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from iwae_core.device import PROCESSOR

LogDensity = Float[Tensor, "k batch"]
BLOCK = 1000  # rows of logits made at a time: they stay in the cache until they are used up
MANY = 8  # samples of each x from which on it is cheaper to multiply x by the weights than by every sample's logits


def bernoulli_log_likelihood(x: Float[Tensor, "*k batch units"], logits: Float[Tensor, "... units"]) -> LogDensity:
    """sum over units of x l - log(1 + e^l), from logits l, which cannot underflow."""
    return torch.einsum("...d,...d->...", x, logits) - softplus(logits).sum(-1)


def bernoulli_network_log_likelihood(
    x: Float[Tensor, "*k batch units"], h: Float[Tensor, "k batch _"], layers: Sequence[nn.Linear]
) -> LogDensity:
    """log Bernoulli(x; logits), the logits made from h by linear layers with tanh between; constant in x."""
    parameters = parameters_of(layers)
    differentiate = torch.is_grad_enabled() and any(value.requires_grad for value in (h, *parameters))
    with torch.no_grad():
        if not differentiate:
            return _value(x, h, parameters)
        rows = Rows(x, h, parameters)
    in_parameters: Tensor = _InParameters.apply(rows, *parameters)  # type: ignore[no-untyped-call]
    if not h.requires_grad:
        return rows.value + in_parameters
    in_h: Tensor = _InLatents.apply(rows, h)  # type: ignore[no-untyped-call]
    return in_h + in_parameters


def parameters_of(layers: Sequence[nn.Linear]) -> list[Tensor]:
    """Weight and bias of each layer in turn."""
    return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]


class Rows:
    """The network at every row of k x batch samples: its value, and the derivatives of each row's value.

    `inputs` are what each layer is given, and `errors` the derivatives in what each puts out before its tanh. If only
    `some` rows will be differentiated, `keep` must say which.
    """

    def __init__(self, x: Tensor, h: Tensor, parameters: Sequence[Tensor], *, some: bool = False) -> None:
        self.weights, last = parameters[::2], (parameters[-2], parameters[-1])
        self.inputs = _inputs(h, parameters)
        self.kept: Tensor | None = None
        features = self.inputs[-1]
        errors = features.new_empty(len(features), len(last[0]))
        below = torch.empty_like(features[:0] if some else features)
        values = []
        for block in _blocks(x, h, features, *last):
            rows = block.rows
            values.append(_block_value(block, features[rows], *last, out=errors[rows]))
            if len(self.weights) > 1 and not some:  # now, while the errors are in the cache
                torch.mm(errors[rows], last[0], out=below[rows])
        self.value, self.errors = torch.cat(values), [errors]
        if not some:
            self._descend(below)

    def keep(self, rows: Tensor) -> None:
        """Go on with the rows of these numbers; for all others the derivatives will be zero."""
        self.kept = rows
        self.inputs = [given.index_select(0, rows) for given in self.inputs]
        self.errors = [self.errors[0].index_select(0, rows)]
        self._descend(self.errors[0] @ self.weights[-1])

    def _descend(self, below: Tensor) -> None:
        """Find the errors of all layers but the last; `below` are its errors times its weights."""
        for weight, output in zip(reversed(self.weights[1:]), reversed(self.inputs[1:]), strict=True):
            after = below if weight is self.weights[-1] else self.errors[0] @ weight
            self.errors.insert(0, tanh_backward_(after, output))

    def in_h(self, gradient: Tensor) -> Tensor:
        """The derivative in h, `[k x batch, units]`, for a cotangent of the value."""
        scale = gradient.reshape(-1, 1)
        if self.kept is None:
            return (self.errors[0] @ self.weights[0]).mul_(scale)
        found = (self.errors[0] @ self.weights[0]).mul_(scale[self.kept])
        return found.new_zeros(len(scale), found.shape[-1]).index_copy_(0, self.kept, found)

    def in_parameters(self, gradient: Tensor) -> list[Tensor]:
        """The derivative in each parameter."""
        scale = gradient.reshape(-1) if self.kept is None else gradient.reshape(-1)[self.kept]
        pairs = zip(self.errors, self.inputs, strict=True)
        return [part for error, given in pairs for part in (error.T @ (given * scale.unsqueeze(-1)), scale @ error)]


def tanh_backward_(error: Tensor, output: Tensor) -> Tensor:
    """The derivative before a tanh from the one after it, in place."""
    found: Tensor = torch.ops.aten.tanh_backward.grad_input(error, output, grad_input=error)
    return found


def _value(x: Tensor, h: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The value alone, in the memory of one block of logits."""
    last, features = (parameters[-2], parameters[-1]), _inputs(h, parameters)[-1]
    memory = features.new_empty(min(len(features), max(BLOCK, h.shape[-2])), len(last[0]))
    values = []
    for block in _blocks(x, h, features, *last):
        part = features[block.rows]
        values.append(_block_value(block, part, *last, out=memory[: len(part)], differentiate=False))
    return torch.cat(values)


def _inputs(h: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """What each layer is given, `[k x batch, units]`."""
    inputs, hidden = [h.reshape(-1, h.shape[-1])], parameters[:-2]
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        inputs.append(torch.addmm(bias, inputs[-1], weight.T).tanh_())
    return inputs


class _Block(NamedTuple):
    """Some of the rows, their x, and x . l if it is known without the logits."""

    rows: slice
    x: Tensor
    agreement: Tensor | None


def _blocks(x: Tensor, h: Tensor, features: Tensor, weight: Tensor, bias: Tensor) -> Iterator[_Block]:
    """As many samples of all images at a time as have at most `BLOCK` rows, or one."""
    k, images = h.shape[:-1]
    same_x = x.ndim < h.ndim  # for all samples of an image
    agreement = None
    if same_x and k >= MANY:  # x . (W f + b) = (x W) . f + x . b
        agreement = x @ bias + _inner(x @ weight, features.view(k, images, -1))
    samples = max(1, BLOCK // images)
    for start in range(0, k, samples):
        part = slice(start, start + samples)
        rows = slice(start * images, (start + samples) * images)
        yield _Block(rows, x if same_x else x[part], None if agreement is None else agreement[part])


def _inner(fixed: Tensor, values: Tensor) -> Tensor:
    """The inner product of each image's vector with each of its k."""
    return (values[:, 0] @ fixed[0])[:, None] if len(fixed) == 1 else (values * fixed).sum(-1)


def _block_value(
    block: _Block, features: Tensor, weight: Tensor, bias: Tensor, out: Tensor, differentiate: bool = True
) -> Tensor:
    """x . l - sum log(1 + e^l); leaves x - sigmoid(l) in `out` if wanted."""
    x = block.x
    logits = _logits(x, features, weight, bias, out)
    agreement = torch.linalg.vecdot(x, logits) if block.agreement is None else block.agreement
    if out.device == PROCESSOR:  # another would have to be waited for to see whether all is finite
        normaliser = _fast_normaliser(x, logits, differentiate)
        if math.isfinite(normaliser.sum()):
            return agreement - normaliser
        logits = _logits(x, features, weight, bias, out)  # an exponential, or a product, overflowed
    normaliser = softplus(logits).sum(-1)
    torch.sub(x, torch.sigmoid(logits), out=logits)
    return agreement - normaliser


def _logits(x: Tensor, features: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    return torch.addmm(bias, features, weight.T, out=out).view(-1, *x.shape[-2:])


def _fast_normaliser(x: Tensor, logits: Tensor, differentiate: bool) -> Tensor:
    """sum log(1 + e^l) from one exponential for each unit, in place of the logits; leaves x - sigmoid(l) if wanted."""
    odds = logits.exp_()
    total = odds + 1 if differentiate else odds.add_(1)
    if differentiate:
        torch.addcdiv(x, odds, total, value=-1, out=odds)
    if total.shape[-1] % 8 == 0:  # one logarithm for each product of eight
        total = total.unflatten(-1, (8, -1)).prod(-2)
    return total.log_().sum(-1)


class _InLatents(torch.autograd.Function):
    """The value, as a function of h."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, h: Tensor) -> Tensor:
        ctx.rows = rows
        return rows.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, ctx.rows.in_h(gradient).view(*gradient.shape, -1)


class _InParameters(torch.autograd.Function):
    """Zero, with the derivatives of the value in the parameters: a backward pass to h alone then leaves them out."""

    @staticmethod
    def forward(ctx: Any, rows: Rows, *parameters: Tensor) -> Tensor:
        ctx.rows = rows
        return torch.zeros_like(rows.value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.rows.in_parameters(gradient)
