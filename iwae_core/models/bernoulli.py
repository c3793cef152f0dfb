"""log Bernoulli(x; logits), alone and together with the network that makes the logits.

Nearly all the time of a training step goes into the second, so its derivative is written out. Rows of samples do not
mix: the derivative of each row's value is found once, for a cotangent of one, and the cotangents only scale it. So
theta and phi can climb different functions at the price of one backward pass, tiny weights make no denormal numbers,
and what is scaled is the narrow side of each matrix product.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
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


def in_parts(whole: Tensor, size: int, dim: int = 0) -> Sequence[Tensor]:
    """Parts of at most this size. Where there is one, it is the whole: with few rows, each operation counts."""
    return [whole] if whole.shape[dim] <= size else whole.split(size, dim)


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The whole again."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)  # type: ignore[arg-type]


class Rows:
    """The network at every row of k x batch samples: its value, and the derivatives of each row's value.

    `inputs` are what each layer is given, and `errors` the derivatives in what each puts out before its tanh. If only
    `some` rows will be differentiated, `keep` must say which.
    """

    def __init__(self, x: Tensor, h: Tensor, parameters: Sequence[Tensor], *, some: bool = False) -> None:
        self.weights, last = parameters[::2], (parameters[-2], parameters[-1])
        self.inputs = _inputs(h, parameters)
        self.kept: Tensor | None = None
        features, values = self.inputs[-1], []
        errors = features.new_empty(len(features), len(last[0]))
        below = torch.empty_like(features[:0] if some else features)
        descending: Iterable[Tensor | None] = (
            in_parts(below, _rows(h)) if len(self.weights) > 1 and not some else repeat(None)
        )
        parts = zip(_blocks(x, h, features, last), in_parts(errors, _rows(h)), descending, strict=False)
        for block, own_errors, own_below in parts:
            values.append(_block_value(block, last, out=own_errors))
            if own_below is not None:  # now, while the errors are in the cache
                torch.mm(own_errors, last[0], out=own_below)
        self.value, self.errors = joined(values), [errors]
        if not some:
            self._descend(below)

    def keep(self, rows: Tensor) -> None:
        """Go on with the rows of these numbers; for all others the derivatives will be zero."""
        self.kept = rows
        self.inputs = [given.index_select(0, rows) for given in self.inputs]
        self.errors = [self.errors[0].index_select(0, rows)]
        self._descend(torch.mm(self.errors[0], self.weights[-1]))

    def _descend(self, below: Tensor) -> None:
        """Find the errors of all layers but the last; `below` are its errors times its weights."""
        for weight, output in zip(reversed(self.weights[1:]), reversed(self.inputs[1:]), strict=True):
            after = below if weight is self.weights[-1] else torch.mm(self.errors[0], weight)
            self.errors.insert(0, tanh_backward_(after, output))

    def in_h(self, gradient: Tensor) -> Tensor:
        """The derivative in h, `[k x batch, units]`, for a cotangent of the value."""
        scale = gradient.reshape(-1, 1)
        if self.kept is None:
            return torch.mm(self.errors[0], self.weights[0]).mul_(scale)
        found = torch.mm(self.errors[0], self.weights[0]).mul_(scale[self.kept])
        return found.new_zeros(len(scale), found.shape[-1]).index_copy_(0, self.kept, found)

    def in_parameters(self, gradient: Tensor) -> list[Tensor]:
        """The derivative in each parameter."""
        scale = gradient.reshape(-1) if self.kept is None else gradient.reshape(-1)[self.kept]
        column = scale.unsqueeze(-1)
        pairs = zip(self.errors, self.inputs, strict=True)
        return [part for error, given in pairs for part in (torch.mm(error.T, given * column), scale @ error)]


def tanh_backward_(error: Tensor, output: Tensor) -> Tensor:
    """The derivative before a tanh from the one after it, in place."""
    found: Tensor = torch.ops.aten.tanh_backward.grad_input(error, output, grad_input=error)
    return found


def _value(x: Tensor, h: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The value alone, in the memory of one block of logits."""
    last, features = (parameters[-2], parameters[-1]), _inputs(h, parameters, _quick_tanh_)[-1]
    memory = features.new_empty(min(len(features), _rows(h)), len(last[0]))
    blocks = _blocks(x, h, features, last)
    return joined([_block_value(block, last, memory[: len(block.features)], differentiate=False) for block in blocks])


def _quick_tanh_(values: Tensor) -> Tensor:
    """tanh to 2e-7 of 1, in place: on some processors torch's sigmoid is several times as fast as its tanh and exp."""
    return values.mul_(2).sigmoid_().mul_(2).sub_(1)


def _inputs(h: Tensor, parameters: Sequence[Tensor], tanh_: Callable[[Tensor], Tensor] = torch.tanh_) -> list[Tensor]:
    """What each layer is given, `[k x batch, units]`."""
    inputs, hidden = [h.reshape(-1, h.shape[-1])], parameters[:-2]
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        inputs.append(tanh_(torch.addmm(bias, inputs[-1], weight.T)))
    return inputs


class _Block(NamedTuple):
    """Some of the rows of features, their x, and x . l if it is known without the logits."""

    x: Tensor
    agreement: Tensor | None
    features: Tensor


def _rows(h: Tensor) -> int:
    """Rows of a block: as many samples of all images as have at most `BLOCK`, or one."""
    return max(1, BLOCK // h.shape[-2]) * h.shape[-2]


def _blocks(x: Tensor, h: Tensor, features: Tensor, last: tuple[Tensor, Tensor]) -> Iterator[_Block]:
    (k, images), (weight, bias), samples = h.shape[:-1], last, _rows(h) // h.shape[-2]
    same_x = x.ndim < h.ndim  # for all samples of an image
    of_x: Iterable[Tensor] = repeat(x) if same_x else in_parts(x, samples)
    agreements: Iterable[Tensor | None] = repeat(None)
    if same_x and k >= MANY:  # x . (W f + b) = (x W) . f + x . b
        agreements = in_parts(x @ bias + _inner(x @ weight, features.view(k, images, -1)), samples)
    return map(_Block, of_x, agreements, in_parts(features, samples * images))


def _inner(fixed: Tensor, values: Tensor) -> Tensor:
    """The inner product of each image's vector with each of its k."""
    return (values[:, 0] @ fixed[0])[:, None] if len(fixed) == 1 else (values * fixed).sum(-1)


def _block_value(block: _Block, last: tuple[Tensor, Tensor], out: Tensor, differentiate: bool = True) -> Tensor:
    """x . l - sum log(1 + e^l); leaves x - sigmoid(l) in `out` if wanted."""
    x = block.x
    logits = _logits(block, last, out)
    agreement = torch.linalg.vecdot(x, logits) if block.agreement is None else block.agreement
    if out.device == PROCESSOR:  # another would have to be waited for to see whether all is finite
        normaliser = _fast_normaliser(x, logits, differentiate)
        if math.isfinite(normaliser.sum()):
            return agreement - normaliser
        logits = _logits(block, last, out)  # an exponential, or a product, overflowed
    normaliser = softplus(logits).sum(-1)
    torch.sub(x, torch.sigmoid(logits), out=logits)
    return agreement - normaliser


def _logits(block: _Block, last: tuple[Tensor, Tensor], out: Tensor) -> Tensor:
    weight, bias = last
    return torch.addmm(bias, block.features, weight.T, out=out).view(-1, *block.x.shape[-2:])


def _fast_normaliser(x: Tensor, logits: Tensor, differentiate: bool) -> Tensor:
    """sum log(1 + e^l) from one exponential for each unit, in place of the logits; leaves x - sigmoid(l) if wanted."""
    if differentiate:
        odds = logits.exp_()
        total = odds + 1
        torch.addcdiv(x, odds, total, value=-1, out=odds)
    else:
        total = logits.neg_().sigmoid_()  # upside down
    if total.shape[-1] % 8 == 0:  # one logarithm for each product of eight
        total = total.unflatten(-1, (8, -1)).prod(-2)
    return (total if differentiate else total.reciprocal_()).log_().sum(-1)


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
