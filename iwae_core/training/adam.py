"""Adam without what torch looks up anew in every step."""

from collections.abc import Iterable

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015) with the paper's constants."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        super().__init__(parameters, learning_rate, betas=(0.9, 0.999), eps=1e-4, fused=True)

    @torch.no_grad()
    def update(self) -> None:
        """What `step` does, to the bit, once every parameter has its moments: all have one device and one type.

        Before it updates all parameters at once `step` sorts them by both, which takes as long as the update.
        """
        (group,) = self.param_groups
        if len(self.state) < len(group["params"]):
            self.step()
            return
        moved = [
            (parameter, parameter.grad, moments["exp_avg"], moments["exp_avg_sq"], moments["step"])
            for parameter, moments in self.state.items()
            if parameter.grad is not None
        ]
        parameters, gradients, means, squares, steps = zip(*moved, strict=True)
        torch._foreach_add_(steps, [torch.ones_like(steps[0])] * len(steps))  # 1 would be made a tensor for each
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            parameters,
            gradients,
            means,
            squares,
            (),
            steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
