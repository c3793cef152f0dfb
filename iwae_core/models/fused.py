"""One Gaussian layer between tanh networks, the paper's first model, as one operation with its derivative written out.

It computes what `Gaussian`, `StandardNormal` and `Bernoulli` compute, and no less exactly. With few rows most of a step
goes into the hundreds of small operations that automatic differentiation makes of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from iwae_core.models.conditional import HALF_LOG_2PI
from iwae_core.models.likelihood import LogDensity, Rows, tanh_backward_


def fused_draw(
    x: Tensor, noise: Tensor, recognition: Sequence[nn.Linear], generative: Sequence[nn.Linear]
) -> tuple[Tensor, LogDensity, LogDensity]:
    """h, which is a constant here, log p(x, h) and log q(h | x), whose derivative in phi is the total one.

    The linear layers of q are the two below its heads, the mean and the log scale; those of p end with the logits.
    """
    parameters = [parameter for layer in (*recognition, *generative) for parameter in (layer.weight, layer.bias)]
    found: tuple[Tensor, LogDensity, LogDensity] = _Draw.apply(x, noise, *parameters)  # type: ignore[no-untyped-call]
    return found


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (w1, b1), (w2, b2), (w_mean, b_mean), (w_scale, b_scale) = zip(parameters[:8:2], parameters[1:8:2], strict=True)
        lower = torch.addmm(b1, x, w1.T).tanh_()
        upper = torch.addmm(b2, lower, w2.T).tanh_()
        mean, log_scale = torch.addmm(b_mean, upper, w_mean.T), torch.addmm(b_scale, upper, w_scale.T)
        scale = log_scale.exp()
        h = torch.addcmul(mean, scale, noise)
        rows = Rows(x, h, parameters[8:])
        log_p = torch.sub(rows.value, torch.linalg.vecdot(h, h), alpha=0.5).sub_(h.shape[-1] * HALF_LOG_2PI)
        shift = log_scale.sum(-1).add_(h.shape[-1] * HALF_LOG_2PI)
        log_q = torch.linalg.vecdot(noise, noise).mul_(-0.5).sub_(shift)
        ctx.kept = x, noise, lower, upper, scale, h, rows, (w2, w_mean, w_scale)
        ctx.mark_non_differentiable(h)
        return h, log_p, log_q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, of_p: Tensor, of_q: Tensor) -> tuple[Tensor | None, ...]:
        x, noise, lower, upper, scale, h, rows, (w2, w_mean, w_scale) = ctx.kept
        in_h = torch.addcmul(rows.in_h(of_p).view_as(h), h, of_p.unsqueeze(-1), value=-1)
        mean = in_h.sum(0)
        log_scale = (in_h * noise).sum(0).mul_(scale).sub_(of_q.sum(0).unsqueeze(-1))
        second = tanh_backward_(torch.addmm(mean @ w_mean, log_scale, w_scale), upper)
        first = tanh_backward_(second @ w2, lower)
        pairs = ((first, x), (second, lower), (mean, upper), (log_scale, upper))
        in_phi = [part for error, given in pairs for part in (error.T @ given, error.sum(0))]
        return None, None, *in_phi, *rows.in_parameters(of_p)
