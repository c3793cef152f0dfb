"""How noisy a gradient is: its mean and variance over repetitions, and their ratio, with the parameters held still."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.lower import elbo
from iwae_core.estimators import Estimator, accumulate_gradient
from iwae_core.models import Model
from iwae_core.randomness import generator


class Moments(NamedTuple):
    """Mean and variance of a gradient estimate over repetitions, one value for each parameter, float64."""

    mean: Float[Tensor, " parameters"]
    variance: Float[Tensor, " parameters"]

    def signal_to_noise(self) -> Float[Tensor, " parameters"]:
        """|mean| / standard deviation, zero for a parameter whose gradient is always zero.

        From R repetitions of pure noise about 0.8 / sqrt(R) is to be expected. Source: Rainforth et al. 2018, eq. 4.
        """
        return (self.mean.abs() / self.variance.sqrt()).nan_to_num(nan=0.0, posinf=torch.inf)


def gradient_moments(
    model: Model,
    estimator: Estimator,
    x: Float[Tensor, "batch pixels"],
    k: int,
    repetitions: int,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    **settings: Any,
) -> tuple[Moments, Moments]:
    """Moments, for theta and for phi, of the estimate on one minibatch, with fresh noise in each repetition.

    The estimate is the mean over data of the gradient of what is maximised. Memory is that of a few gradients.

    Raises:
        ValueError: the model does not offer the estimator's path.
    """
    parts = (model.theta, model.phi)
    total = [torch.zeros(sum(map(torch.numel, part)), dtype=torch.float64) for part in parts]
    square = [value.clone() for value in total]
    with torch.no_grad():
        pilot = model.draw(x, model.noise(k, len(x), generator(seed, "moments, baseline")))
    for repeat in range(repetitions):
        noise = model.noise(k, len(x), generator(seed, "moments", repeat))
        draws = model.draw(x, noise, estimator.path, generator(seed, "moments, path", repeat))
        draws = replace(draws, baseline=float(elbo(pilot.log_weights).mean()))
        for parameter in (*model.theta, *model.phi):
            parameter.grad = None
        accumulate_gradient(estimator(draws, **settings), *parts, -1 / len(x))
        for index, part in enumerate(parts):
            gradient = _flat(part)
            change = gradient - total[index]
            total[index] += change / (repeat + 1)
            square[index] += change * (gradient - total[index])
        report(repeat + 1)
    theta, phi = (Moments(mean, spread / (repetitions - 1)) for mean, spread in zip(total, square, strict=True))
    return theta, phi


def _flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    return torch.cat([part.flatten().double() for part in parts]) if parts else torch.zeros(0, dtype=torch.float64)
