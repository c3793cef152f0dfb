"""The only training loop: several runs in lockstep on the same minibatches, binarisation and noise."""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from iwae_core.events import Event, Failed, Finished, Progress, Snapshot, Started
from iwae_core.models import MODELS, Model
from iwae_core.randomness import generator
from iwae_core.spec import ExperimentSpec, RunSpec

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
            accumulate_gradient(self.estimator(draws), self.model.theta, self.model.phi, 1 / len(x))
            weights = draws.log_weights.detach()
            totals += torch.stack([elbo(weights).sum(), iwae_bound(weights).sum()])
        self.optimiser.step()
        mean_elbo, mean_iwae = (totals / len(x)).tolist()
        self.baseline = 0.9 * self.baseline + 0.1 * mean_elbo if self.baseline else mean_elbo
        return mean_elbo, mean_iwae


class Experiment:
    """A paired experiment: all its runs start from the same weights and see the same data and noise."""

    def __init__(self, spec: ExperimentSpec) -> None:
        self.spec = spec
        self.data = DATASETS[spec.dataset].item()
        self.runs = [Run(run, spec, self.data.train_mean) for run in spec.runs]
        self.held_out = self.data.held_out(spec.seed, spec.eval_images)
        # Runs share nothing within a step, so each has a thread: torch lets go of the interpreter while it computes.
        self._threads = ThreadPoolExecutor(min(len(self.runs), os.cpu_count() or 1), initializer=prepare_process)

    def train(self) -> Iterator[Event]:
        """Events of the whole training, lazily: whoever iterates decides when the next step is made, if at all."""
        yield Started(self.spec.to_json(), _bytes(self.held_out[:DIGITS]))
        evaluation = self.spec.next_snapshot(0)
        yield self.snapshot(0)
        for step in range(1, self.spec.steps + 1):
            x = self.data.minibatch(self.spec.seed, step - 1, self.spec.batch_size)
            bounds = self._threads.map(partial(Run.step, x=x, step=step - 1), self.runs)
            progress = Progress(step, *zip(*bounds, strict=True))
            yield progress
            broken = [value for value in progress.elbo + progress.iwae if not math.isfinite(value)]
            if broken:
                yield Failed(step, f"a bound became {broken[0]}; try a smaller learning rate")
                return
            if step == evaluation:
                evaluation = self.spec.next_snapshot(step)
                yield self.snapshot(step)
        yield Finished(self.spec.steps)

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
        """The specification and the weights of every run."""
        return {"spec": self.spec.to_json(), "models": [run.model.state_dict() for run in self.runs]}


def load_models(state: dict[str, Any]) -> tuple[ExperimentSpec, list[Model]]:
    """The specification and trained models of a checkpoint written from `Experiment.state_dict`."""
    spec = ExperimentSpec.from_json(state["spec"])
    experiment = Experiment(spec)
    for run, weights in zip(experiment.runs, state["models"], strict=True):
        run.model.load_state_dict(weights)
    return spec, [run.model for run in experiment.runs]


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
