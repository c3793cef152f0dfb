"""One Gaussian layer between tanh networks, the paper's first model, with its derivatives written out.

It computes what `Gaussian`, `StandardNormal` and `Bernoulli` compute, and no less exactly. With few rows most of a step
would go into the hundreds of small operations that automatic differentiation makes of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from iwae_core.bounds.weights import LogWeights
from iwae_core.draws import Cotangents, Draws
from iwae_core.models.bernoulli import LogDensity, Rows, in_parts, joined, parameters_of, tanh_backward_
from iwae_core.models.factors import HALF_LOG_2PI


class FusedNetworks:
    """The linear layers of q, two below its heads, mean and log scale; and those of p, down to the logits."""

    def __init__(self, recognition: Sequence[nn.Linear], generative: Sequence[nn.Linear]) -> None:
        self.phi, self.theta = parameters_of(recognition), parameters_of(generative)

    def draw(self, x: Tensor, noise: Tensor) -> tuple[Tensor, LogDensity, LogDensity]:
        """h, which is a constant here, log p(x, h) and log q(h | x), whose derivative in phi is the total one."""
        found: tuple[Tensor, LogDensity, LogDensity] = _Draw.apply(x, noise, *self.phi, *self.theta)  # type: ignore[no-untyped-call]
        return found

    @torch.no_grad()
    def set_gradient(
        self, x: Tensor, noise: Tensor, images: int, objective: Callable[[Draws, slice], Cotangents], some: bool
    ) -> LogWeights:
        """Set the parameters' `grad` from what `objective` makes of draws, so many images at a time; returns log w.

        If it pulls with `some` samples only, and with zero on the others, those are left out of the backward pass.
        """
        encoded = _Encoded(x, self.phi)
        log_weights, in_encoded, in_theta = [], [], []
        of_images = (in_parts(whole, images) for whole in (x, *encoded.outputs))
        slices = zip(*of_images, in_parts(noise, images, 1), strict=True)
        for number, (own_x, *outputs, own_noise) in enumerate(slices):
            drawn = _Drawn(own_x, own_noise, *outputs, theta=self.theta, some=some)
            draws = Draws("reparameterized", (drawn.h,), drawn.log_p, drawn.log_q)
            pulls = objective(draws, slice(number * images, (number + 1) * images))
            if some:
                drawn.rows.keep(pulls.rows)
            in_encoded.append(drawn.in_encoded(pulls.p, pulls.q))
            in_theta.append(drawn.rows.in_parameters(pulls.theta))
            log_weights.append(draws.log_weights)
            if len(in_theta) == 2:
                torch._foreach_add_(in_theta[0], in_theta.pop())
        in_mean, in_log_scale = map(joined, zip(*in_encoded, strict=True))
        in_phi = encoded.in_parameters(in_mean, in_log_scale)
        for parameter, gradient in zip((*self.phi, *self.theta), (*in_phi, *in_theta[0]), strict=True):
            parameter.grad = gradient
        return joined(log_weights, 1)


class _Encoded:
    """What q's network makes of x: mean, log scale and scale, `[batch, units]` each."""

    def __init__(self, x: Tensor, parameters: Sequence[Tensor]) -> None:
        (w1, b1), (w2, b2), (w_mean, b_mean), (w_scale, b_scale) = zip(parameters[::2], parameters[1::2], strict=True)
        lower = torch.addmm(b1, x, w1.T).tanh_()
        upper = torch.addmm(b2, lower, w2.T).tanh_()
        mean, log_scale = torch.addmm(b_mean, upper, w_mean.T), torch.addmm(b_scale, upper, w_scale.T)
        self.outputs = mean, log_scale, log_scale.exp()
        self.inputs, self.weights = (x, lower, upper), (w2, w_mean, w_scale)

    def in_parameters(self, mean: Tensor, log_scale: Tensor) -> list[Tensor]:
        """The derivative in each parameter, from those in the mean and in the log scale."""
        (x, lower, upper), (w2, w_mean, w_scale) = self.inputs, self.weights
        second = tanh_backward_(torch.addmm(torch.mm(mean, w_mean), log_scale, w_scale), upper)
        first = tanh_backward_(torch.mm(second, w2), lower)
        pairs = ((first, x), (second, lower), (mean, upper), (log_scale, upper))
        return [part for error, given in pairs for part in (torch.mm(error.T, given), error.sum(0))]


class _Drawn:
    """h = mean + scale noise, and its log-densities."""

    def __init__(
        self,
        x: Tensor,
        noise: Tensor,
        mean: Tensor,
        log_scale: Tensor,
        scale: Tensor,
        *,
        theta: Sequence[Tensor],
        some: bool = False,
    ) -> None:
        self.noise, self.scale = noise, scale
        self.h = h = torch.addcmul(mean, scale, noise)
        self.rows = Rows(x, h, theta, some=some)
        constant = h.shape[-1] * HALF_LOG_2PI
        self.log_p = torch.sub(self.rows.value, torch.linalg.vecdot(h, h), alpha=0.5).sub_(constant)
        self.log_q = torch.linalg.vecdot(noise, noise).mul_(-0.5).sub_(log_scale.sum(-1).add_(constant))

    def in_encoded(self, of_p: Tensor, of_q: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives in the mean and in the log scale: those of log q are 0 and -1, of log p all through h."""
        in_h = torch.addcmul(self.rows.in_h(of_p).view_as(self.h), self.h, of_p.unsqueeze(-1), value=-1)
        log_scale = (in_h * self.noise).sum(0).mul_(self.scale).sub_(of_q.sum(0).unsqueeze(-1))
        return in_h.sum(0), log_scale


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded = _Encoded(x, parameters[:8])
        drawn = _Drawn(x, noise, *encoded.outputs, theta=parameters[8:])
        ctx.kept = encoded, drawn
        # Not the tensors that are kept: an output knows its function, and what knew each other would live for ever.
        h, log_p, log_q = (value.detach() for value in (drawn.h, drawn.log_p, drawn.log_q))
        ctx.mark_non_differentiable(h)
        return h, log_p, log_q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, of_p: Tensor, of_q: Tensor) -> tuple[Tensor | None, ...]:
        encoded, drawn = ctx.kept
        in_phi = encoded.in_parameters(*drawn.in_encoded(of_p, of_q))
        return None, None, *in_phi, *drawn.rows.in_parameters(of_p)
