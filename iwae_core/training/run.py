"""One model in training: its estimator, its optimiser, and how it makes a step."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import LogWeights
from iwae_core.device import PROCESSOR
from iwae_core.draws import Cotangents, Draws
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.estimators.counting import BACKWARDS, counting
from iwae_core.models import MODELS, Encoded, Model, Noise
from iwae_core.randomness import generator
from iwae_core.training.adam import Adam
from iwae_core.training.rows import surrogate_of_rows
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_core.training.starts import STARTS

# k x images rows of one forward and backward pass: more would save little time, and these take about 25 MB.
ROWS = 2500
Pulls = Callable[[Draws, slice], Cotangents]


class Run:
    """One model, its estimator and its optimiser."""

    def __init__(
        self, spec: RunSpec, experiment: ExperimentSpec, pixel_means: Tensor, device: torch.device = PROCESSOR
    ) -> None:
        self.spec = spec
        self.seed = experiment.seed
        self.model: Model = MODELS[spec.model](pixel_means, generator(experiment.seed, "init")).to(device)
        if weights := STARTS[experiment.start].load():
            self.model.load_state_dict(weights)
        self._biases = [parameter for parameter in self.model.parameters() if parameter.dim() == 1]
        self.estimator = ESTIMATORS[spec.estimator]
        self.theta, self.phi = self.model.theta, self.model.phi
        self.kept = 1.0  # the share of the rows of the last step that took part in its backward pass
        self.baseline = 0.0  # a running mean of log w, for estimators that subtract it
        self.optimiser = Adam(self.model.parameters(), experiment.learning_rate)

    def swap(self, estimator: str, k: int) -> None:
        """Go on with another estimator and k. The parameters are the same, so Adam keeps its moments."""
        self.spec = self.spec.swapped(estimator, k)
        self.estimator = ESTIMATORS[estimator]

    @property
    def c(self) -> float:
        """How much is left out of the backward pass, see `counting`; 0 where every row takes part."""
        return BACKWARDS[self.spec.backward](self.estimator)

    def set_learning_rate(self, value: float) -> None:
        """The learning rate from the next step on."""
        for group in self.optimiser.param_groups:
            group["lr"] = value

    def state_dict(self) -> dict[str, Any]:
        """What training has changed."""
        model, optimiser = self.model.state_dict(), self.optimiser.state_dict()
        return {"model": model, "optimiser": optimiser, "baseline": self.baseline}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.baseline = state["baseline"]

    def step(self, x: Tensor, step: int) -> tuple[float, float]:
        """One ascent on the minibatch `[batch, pixels]`; returns its mean ELBO and mean L_k before the update."""
        bounds = self.gradient(x, step)
        self.update(bounds)
        return bounds

    def gradient(self, x: Tensor, step: int) -> tuple[float, float]:
        """Compute the gradient on a minibatch and nothing else; returns its mean ELBO and mean L_k.

        The minibatch passes in slices. The gradient is the sum over slices: exact, at the memory of one slice.
        """
        log_weights = self._accumulate_gradient(x.to(self.model.like), step).double()
        mean_elbo, mean_iwae = (float(bound(log_weights).mean()) for bound in (elbo, iwae_bound))
        return mean_elbo, mean_iwae

    def _accumulate_gradient(self, x: Tensor, step: int) -> Tensor:
        noise = self.model.noise(self.spec.k, len(x), generator(self.seed, "noise", step))
        images = max(1, ROWS // self.spec.k)
        coins = self.coins(len(x), step) if self.c else None
        self.kept = 1.0 if coins is None else 0.0
        pulls = partial(self._pulls, coins, -1 / len(x))  # minus, because optimisers descend
        if self.model.fused and self.estimator.path == "reparameterized":
            return self.model.fused.set_gradient(x, noise[0], images, pulls, coins is not None)
        self.optimiser.zero_grad()
        more = generator(self.seed, "path", step)
        if images >= len(x) and coins is None:
            return self._accumulate_slice(x, noise, (), None, more, 1 / len(x))
        # What q makes of the images alone is found once for all slices, and differentiated once, at the end.
        encoded = self.model.encode(x)
        leaves = tuple(part.detach().requires_grad_() for part in encoded)
        log_weights = []
        for start in range(0, len(x), images):
            part = slice(start, start + images)
            here = x[part], tuple(layer[:, part] for layer in noise), leaves, tuple(leaf[part] for leaf in leaves)
            if coins is None:
                log_weights.append(self._accumulate_slice(*here, more, 1 / len(x)))
            else:
                log_weights.append(self._accumulate_rows(*here, pulls, part))
        reached = [(part, leaf.grad) for part, leaf in zip(encoded, leaves, strict=True) if leaf.grad is not None]
        torch.autograd.backward([part for part, _ in reached], [gradient for _, gradient in reached])
        return torch.cat(log_weights, 1)

    def _accumulate_slice(
        self, x: Tensor, noise: Noise, leaves: Encoded, encoded: Encoded | None, more: torch.Generator, scale: float
    ) -> Tensor:
        draws = self.model.draw(x, noise, self.estimator.path, more, encoded)
        surrogate = self.estimator(replace(draws, baseline=self.baseline), **self.spec.settings)
        accumulate_gradient(surrogate, self.theta, [*leaves, *self.phi], scale)
        return draws.log_weights.detach()

    def _accumulate_rows(
        self, x: Tensor, noise: Noise, leaves: Encoded, encoded: Encoded, pulls: Pulls, part: slice
    ) -> Tensor:
        with torch.no_grad():
            draws = self.model.draw(x, noise, self.estimator.path, encoded=encoded)
        surrogate = surrogate_of_rows(self.model, x, noise, encoded, draws, pulls(draws, part))
        accumulate_gradient(surrogate, self.theta, [*leaves, *self.phi], -1.0)
        return draws.log_weights

    def _pulls(self, coins: LogWeights | None, scale: float, draws: Draws, part: slice) -> Cotangents:
        """What multiplies the gradients of the draws of these images; with coins, zero on rows that are left out."""
        pulls = self.estimator.cotangents(draws, scale, self.spec.settings)
        if coins is None:
            return pulls
        few = counting(pulls, coins[:, part].to(pulls.p.device), self.c)
        self.kept += len(few.rows) / coins.numel()
        return few

    def coins(self, images: int, step: int) -> LogWeights:
        """A uniform number for each sample of a step, which decides whether its row is kept."""
        return torch.rand(self.spec.k, images, generator=generator(self.seed, "backward", step))

    def update(self, bounds: tuple[float, float]) -> None:
        """Follow the gradient."""
        self.optimiser.update()
        self.baseline = 0.9 * self.baseline + 0.1 * bounds[0] if self.baseline else bounds[0]

    def broken(self, bounds: tuple[float, float]) -> str:
        """What is not finite and has become what; empty if all is well, and the gradient may be followed.

        Of the gradient only that of the biases is looked at, a hundredth of all. It is the sum of what comes down to a
        layer, and the gradient of the layer's weights is the sum of the same times finite inputs.
        """
        gradient = float(torch.cat([bias.grad for bias in self._biases if bias.grad is not None]).sum())
        values = {"ELBO": bounds[0], f"L_{self.spec.k}": bounds[1], "gradient": gradient}
        return next((f"its {name} became {value}" for name, value in values.items() if not math.isfinite(value)), "")
