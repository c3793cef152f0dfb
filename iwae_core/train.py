"""The only training loop: several runs in lockstep on the same minibatches, binarisation and noise."""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.bounds import elbo, iwae_bound
from iwae_core.datasets import DATASETS
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.evaluate import bound_curves
from iwae_core.events import Event, Failed, Finished, Progress, Snapshot, Started, Swapped
from iwae_core.models import MODELS, Model
from iwae_core.randomness import generator
from iwae_core.schedules import SCHEDULES
from iwae_core.spec import ExperimentSpec, RunSpec, Swap

# k x images rows of one forward and backward pass: large enough for the matrices, small enough for the cache.
ROWS = 1250
DIGITS = 10


class Run:
    """One model, its estimator and its optimiser (Adam with the paper's constants)."""

    def __init__(self, spec: RunSpec, experiment: ExperimentSpec, pixel_means: Tensor) -> None:
        self.spec = spec
        self.seed = experiment.seed
        self.model: Model = MODELS[spec.model].item(pixel_means, generator(experiment.seed, "init"))
        self.estimator = ESTIMATORS[spec.estimator].item
        self.baseline = 0.0  # a running mean of log w, for estimators that subtract it
        self.optimiser = torch.optim.Adam(
            self.model.parameters(), experiment.learning_rate, betas=(0.9, 0.999), eps=1e-4, fused=True
        )

    def swap(self, estimator: str, k: int) -> None:
        """Go on with another estimator and k. The parameters are the same, so Adam keeps its moments."""
        self.spec = self.spec.swapped(estimator, k)
        self.estimator = ESTIMATORS[estimator].item

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
        """One ascent on the minibatch `[batch, pixels]`; returns its mean ELBO and mean L_k before the update.

        The minibatch passes in slices. The gradient is the sum over slices: exact, at the memory of one slice.
        """
        noise = self.model.noise(self.spec.k, len(x), generator(self.seed, "noise", step))
        more = generator(self.seed, "path", step)
        self.optimiser.zero_grad()
        totals = torch.zeros(2, dtype=torch.float64)
        images = max(1, ROWS // self.spec.k)
        for start in range(0, len(x), images):
            part = slice(start, start + images)
            draws = self.model.draw(x[part], tuple(layer[:, part] for layer in noise), self.estimator.path, more)
            draws = replace(draws, baseline=self.baseline)
            surrogate = self.estimator(draws, **self.spec.settings)
            accumulate_gradient(surrogate, self.model.theta, self.model.phi, 1 / len(x))
            weights = draws.log_weights.detach()
            totals += torch.stack([elbo(weights).sum(), iwae_bound(weights).sum()])
        self.optimiser.step()
        mean_elbo, mean_iwae = (totals / len(x)).tolist()
        self.baseline = 0.9 * self.baseline + 0.1 * mean_elbo if self.baseline else mean_elbo
        return mean_elbo, mean_iwae


class Experiment:
    """A paired experiment: all its runs start from the same weights and see the same data and noise.

    `step` counts the training steps made; `swaps` are those made so far, planned or not, in order.
    """

    def __init__(self, spec: ExperimentSpec) -> None:
        self.spec = spec
        self.step = 0
        self.swaps: list[Swap] = []
        self.data = DATASETS[spec.dataset].item()
        self.runs = [Run(run, spec, self.data.train_mean) for run in spec.runs]
        self.held_out = self.data.held_out(spec.seed, spec.eval_images)
        self._now = spec  # after the swaps made
        self._evaluated = -1  # the step of the last evaluation
        self._broken: float | None = None  # a bound that is not finite
        # Runs share nothing within a step, so each has a thread: torch lets go of the interpreter while it computes.
        self._threads = ThreadPoolExecutor(min(len(self.runs), os.cpu_count() or 1), initializer=prepare_process)

    def train(self) -> Iterator[Event]:
        """The events still to come, lazily: whoever iterates decides when the next step is made, if at all."""
        if self._evaluated < 0:
            yield Started(self.spec.to_json(), _bytes(self.held_out[:DIGITS]))
        while self._broken is None:
            if self._evaluation_due():
                self._evaluated = self.step
                yield self.snapshot(self.step)
            for swap in self._swaps_due():
                yield self.swap(swap.run, swap.estimator, swap.k)
            if self.step == self.spec.steps:
                yield Finished(self.step)
                return
            yield self._advance()
        yield Failed(self.step, f"a bound became {self._broken}; try a smaller learning rate")

    def _advance(self) -> Progress:
        x = self.data.minibatch(self.spec.seed, self.step, self.spec.batch_size)
        factor = SCHEDULES[self.spec.schedule].item(self.step, self.spec.steps)
        for run in self.runs:
            run.set_learning_rate(self.spec.learning_rate * factor)
        bounds = self._threads.map(partial(Run.step, x=x, step=self.step), self.runs)
        progress = Progress(self.step + 1, *zip(*bounds, strict=True))
        self.step += 1
        self._broken = next((value for value in progress.elbo + progress.iwae if not math.isfinite(value)), None)
        return progress

    @property
    def between_steps(self) -> bool:
        """Whether the next event is a step: the moment to swap, and to take or restore a state."""
        due = self._broken is not None or self._evaluation_due() or self._swaps_due()
        return self.step < self.spec.steps and not due

    def _evaluation_due(self) -> bool:
        last = self._evaluated
        return last < 0 or (self.step > last and self.step >= self._now.next_snapshot(last))

    def _swaps_due(self) -> list[Swap]:
        return [swap for swap in self.spec.swaps if swap.step == self.step and swap not in self.swaps]

    def swap(self, run: int, estimator: str, k: int) -> Swapped:
        """Change the estimator and k of one run between two steps.

        Raises:
            SpecError: no such run or estimator, or k out of range; nothing has changed then.
        """
        swap = Swap(run=run, step=self.step, estimator=estimator, k=k)
        self._now = self._now.swapped(swap)
        self.runs[run].swap(estimator, k)
        self.swaps.append(swap)
        return Swapped(self.step, run, estimator, k)

    def snapshot(self, step: int) -> Snapshot:
        """Evaluate every run on the same held-out images and noise."""
        seed, ks = self.spec.seed, self.spec.eval_ks
        models = [run.model for run in self.runs]
        curves = list(self._threads.map(partial(bound_curves, x=self.held_out, ks=ks, seed=seed), models))
        with torch.no_grad():
            samples = [model.sample_prior(DIGITS, generator(seed, "samples")) for model in models]
            shown = self.held_out[:DIGITS]
            copies = [model.reconstruct(shown, generator(seed, "reconstructions")) for model in models]
        return Snapshot(
            step,
            torch.stack([curve.iwae for curve in curves]).float().numpy(),
            torch.stack([curve.elbo for curve in curves]).float().numpy(),
            _bytes(torch.stack(samples)),
            _bytes(torch.stack(copies)),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the training depends on. No generator: randomness is addressed by seed and step."""
        return {
            "spec": self.spec.to_json(),
            "step": self.step,
            "evaluated": self._evaluated,
            "swaps": [asdict(swap) for swap in self.swaps],
            "runs": [run.state_dict() for run in self.runs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a new experiment of the same specification into a state; what follows is the same to the bit."""
        for swap in state["swaps"]:
            self.step = swap["step"]
            self.swap(swap["run"], swap["estimator"], swap["k"])
        self.step, self._evaluated = state["step"], state["evaluated"]
        for run, of_run in zip(self.runs, state["runs"], strict=True):
            run.load_state_dict(of_run)


def load_models(state: dict[str, Any]) -> tuple[ExperimentSpec, list[Model]]:
    """The specification and trained models of a checkpoint written from `Experiment.state_dict`."""
    experiment = Experiment(ExperimentSpec.from_json(state["spec"]))
    experiment.load_state_dict(state)
    return experiment.spec, [run.model for run in experiment.runs]


def train(spec: ExperimentSpec) -> Iterator[Event]:
    """Train all runs of an experiment, one event at a time."""
    return Experiment(spec).train()


def prepare_process() -> None:
    """Settings for any process or thread that trains; both are the thread's own.

    Normalised weights make denormal gradients, which are several times slower unless flushed to zero. And an operation
    split over two threads waits for the slower one: on a busy machine one thread for each run is faster.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)


def _bytes(probabilities: Tensor) -> NDArray[np.uint8]:
    return (probabilities * 255).round().to(torch.uint8).numpy()
