"""The only training loop: several runs in lockstep on the same minibatches, binarisation and noise."""

import math
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iwae_core.bounds import elbo, iwae_bound
from iwae_core.closeup import Look, both_bounds, look, shown, weigh
from iwae_core.datasets import DATASETS
from iwae_core.device import like, on_processor, training_device
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.events import Closeup, Event, Failed, Finished, Progress, Snapshot, Started, Swapped
from iwae_core.models import MODELS, Encoded, Model, Noise
from iwae_core.randomness import generator
from iwae_core.schedules import SCHEDULES
from iwae_core.snapshots import DIGITS, pictures, snapshot
from iwae_core.spec import ExperimentSpec, RunSpec, Swap
from iwae_core.stopping import Patience

# k x images rows of one forward and backward pass: more would save little time, and these take about 25 MB.
ROWS = 2500
PROCESSOR = torch.device("cpu")


class Run:
    """One model, its estimator and its optimiser (Adam with the paper's constants)."""

    def __init__(
        self, spec: RunSpec, experiment: ExperimentSpec, pixel_means: Tensor, device: torch.device = PROCESSOR
    ) -> None:
        self.spec = spec
        self.seed = experiment.seed
        self.model: Model = MODELS[spec.model].item(pixel_means, generator(experiment.seed, "init")).to(device)
        self._biases = [parameter for parameter in self.model.parameters() if parameter.dim() == 1]
        self.estimator = ESTIMATORS[spec.estimator].item
        self.theta, self.phi = self.model.theta, self.model.phi
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
        """One ascent on the minibatch `[batch, pixels]`; returns its mean ELBO and mean L_k before the update."""
        bounds = self.gradient(x, step)
        self.update(bounds)
        return bounds

    def gradient(self, x: Tensor, step: int) -> tuple[float, float]:
        """Compute the gradient on a minibatch and nothing else; returns its mean ELBO and mean L_k.

        The minibatch passes in slices. The gradient is the sum over slices: exact, at the memory of one slice.
        """
        self.optimiser.zero_grad()
        log_weights = self._accumulate_gradient(x.to(like(self.model)), step).double()
        mean_elbo, mean_iwae = (float(bound(log_weights).mean()) for bound in (elbo, iwae_bound))
        return mean_elbo, mean_iwae

    def _accumulate_gradient(self, x: Tensor, step: int) -> Tensor:
        noise = self.model.noise(self.spec.k, len(x), generator(self.seed, "noise", step))
        more = generator(self.seed, "path", step)
        images = max(1, ROWS // self.spec.k)
        if images >= len(x):
            return self._accumulate_slice(x, noise, more, 1 / len(x))
        # What q makes of the images alone is found once for all slices, and differentiated once, at the end.
        encoded = self.model.encode(x)
        leaves = tuple(part.detach().requires_grad_() for part in encoded)
        log_weights = []
        for start in range(0, len(x), images):
            part = slice(start, start + images)
            here = x[part], tuple(layer[:, part] for layer in noise), more, 1 / len(x)
            log_weights.append(self._accumulate_slice(*here, tuple(leaf[part] for leaf in leaves), leaves))
        reached = [(part, leaf.grad) for part, leaf in zip(encoded, leaves, strict=True) if leaf.grad is not None]
        torch.autograd.backward([part for part, _ in reached], [gradient for _, gradient in reached])
        return torch.cat(log_weights, 1)

    def _accumulate_slice(
        self,
        x: Tensor,
        noise: Noise,
        more: torch.Generator,
        scale: float,
        encoded: Encoded | None = None,
        leaves: Encoded = (),
    ) -> Tensor:
        draws = self.model.draw(x, noise, self.estimator.path, more, encoded)
        surrogate = self.estimator(replace(draws, baseline=self.baseline), **self.spec.settings)
        accumulate_gradient(surrogate, self.theta, [*leaves, *self.phi], scale)
        return draws.log_weights.detach()

    def update(self, bounds: tuple[float, float]) -> None:
        """Follow the gradient."""
        self.optimiser.step()
        self.baseline = 0.9 * self.baseline + 0.1 * bounds[0] if self.baseline else bounds[0]

    def broken(self, bounds: tuple[float, float]) -> str:
        """What is not finite and has become what; empty if all is well, and the gradient may be followed.

        Of the gradient only that of the biases is looked at, a hundredth of all. It is the sum of what comes down to a
        layer, and the gradient of the layer's weights is the sum of the same times finite inputs.
        """
        gradient = float(torch.cat([bias.grad for bias in self._biases if bias.grad is not None]).sum())
        values = {"ELBO": bounds[0], f"L_{self.spec.k}": bounds[1], "gradient": gradient}
        return next((f"its {name} became {value}" for name, value in values.items() if not math.isfinite(value)), "")


class Experiment:
    """A paired experiment: all its runs start from the same weights and see the same data and noise.

    `step` counts the training steps made; `swaps` are those made so far, planned or not, in order.
    """

    def __init__(self, spec: ExperimentSpec, device: torch.device | None = None) -> None:
        self.spec = spec
        self.step = 0
        self.swaps: list[Swap] = []
        self.data = DATASETS[spec.dataset].item()
        device = device or training_device()
        self.runs = [Run(run, spec, self.data.train_mean, device) for run in spec.runs]
        self.held_out = self.data.held_out(spec.seed, spec.eval_images)
        self._now = spec  # after the swaps made
        self._evaluated = -1  # the step of the last evaluation
        self._patience = Patience()
        self._ending = ""  # why no further step is to be made
        # Runs share nothing within a step, so each has a thread: torch lets go of the interpreter while it computes.
        self._threads = ThreadPoolExecutor(min(len(self.runs), os.cpu_count() or 1), initializer=prepare_process)

    def train(self) -> Iterator[Event]:
        """The events still to come, lazily: whoever iterates decides when the next step is made, if at all."""
        if self._evaluated < 0:
            yield Started(self.spec.to_json(), pictures(self.held_out[:DIGITS]))
        while True:
            if self._evaluation_due():
                self._evaluated = self.step
                snapshot = self.snapshot(self.step)
                self._patience.look(snapshot.iwae[:, -1])
                yield snapshot
            if self._out_of_patience():
                self.end(f"no bound improved in {self._patience.count} evaluations")
            if self.step == self.spec.steps:
                self.end(f"all {self.step:,} steps are made")
            if self._ending:
                yield Finished(self.step, reason=self._ending)
                return
            for swap in self._swaps_due():
                yield self.swap(swap.run, swap.estimator, swap.k)
            event = self._advance()
            yield event
            if isinstance(event, Failed):
                return

    @property
    def finite(self) -> bool:
        """Whether every parameter is a number."""
        return all(bool(p.isfinite().all()) for run in self.runs for p in run.model.parameters())

    def end(self, reason: str) -> None:
        """Make no further step: evaluate once more, unless that has just been done, and finish."""
        self._ending = reason

    def _advance(self) -> Progress | Failed:
        """One step of all runs, or of none: what is not finite is never followed."""
        x = self.data.minibatch(self.spec.seed, self.step, self.spec.batch_size)
        factor = SCHEDULES[self.spec.schedule].item(self.step, self.spec.steps)
        for run in self.runs:
            run.set_learning_rate(self.spec.learning_rate * factor)
        bounds, broken, cost = zip(*self._threads.map(partial(_tried, x=x, step=self.step), self.runs), strict=True)
        for number, (run, problem) in enumerate(zip(self.runs, broken, strict=True), 1):
            if problem:
                name = f"run {number} ({run.spec.label}, k = {run.spec.k})"
                return Failed(self.step, f"{name}: {problem} in step {self.step + 1:,}; try a smaller learning rate")
        deque(self._threads.map(Run.update, self.runs, bounds), maxlen=0)
        self.step += 1
        elbos, iwaes = zip(*bounds, strict=True)
        return Progress(self.step, elbos, iwaes, tuple(round(seconds, 5) for seconds in cost))

    def _out_of_patience(self) -> bool:
        """Whether the specification's patience is at its end; never before the last planned swap."""
        swaps_to_come = any(swap.step >= self.step for swap in self.spec.swaps)
        return self.spec.patience is not None and self._patience.count >= self.spec.patience and not swaps_to_come

    @property
    def between_steps(self) -> bool:
        """Whether the next event is a step: the moment to swap, and to take or restore a state."""
        due = self._evaluation_due() or self._swaps_due()
        return self.step < self.spec.steps and not self._ending and not due

    def _evaluation_due(self) -> bool:
        last = self._evaluated
        return last < 0 or (self.step > last and (self._ending != "" or self.step >= self._now.next_snapshot(last)))

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
        self._patience.renew()
        return Swapped(self.step, run, estimator, k)

    def snapshot(self, step: int) -> Snapshot:
        """Evaluate every run on the same held-out images and noise."""
        models = [run.model for run in self.runs]
        return snapshot(step, models, self.held_out, self.spec.eval_ks, self.spec.seed, self._threads.map)

    def look(self) -> Look:
        """The first image of the next minibatch and its samples as every run sees them, before the step is made."""
        x = self.data.minibatch(self.spec.seed, self.step, self.spec.batch_size)
        runs = []
        for run in self.runs:
            model = on_processor(run.model)
            noise = model.noise(run.spec.k, len(x), generator(run.seed, "noise", self.step))
            of_image = tuple(layer[:, :1] for layer in noise)
            runs.append(look(model, run.estimator, x[:1], of_image, **run.spec.settings))
        return Look(self.step, x[:1], tuple(runs))

    def compare(self, before: Look) -> Closeup:
        """The step just made, beside what `look` saw before it.

        Raises:
            ValueError: not exactly one step was made since.
        """
        if self.step != before.step + 1:
            raise ValueError(f"compare needs exactly one step after look; {self.step - before.step} were made")
        seen = before.runs
        weights = [of_run.log_weights for of_run in seen]
        models = [on_processor(run.model) for run in self.runs]
        after = [weigh(model, before.x, of_run.noise) for model, of_run in zip(models, seen, strict=True)]
        decoded = torch.nn.utils.rnn.pad_sequence([of_run.decoded for of_run in seen], batch_first=True)
        return Closeup(
            step=self.step,
            ks=tuple(len(values) for values in weights),
            image=pictures(before.x[0]),
            before=shown(weights),
            after=shown(after),
            pulls=shown([of_run.pulls for of_run in seen]),
            bounds=np.stack([both_bounds(weights), both_bounds(after)], -1),
            decoded=pictures(decoded),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything the rest of the training depends on. No generator: randomness is addressed by seed and step."""
        return {
            "spec": self.spec.to_json(),
            "step": self.step,
            "evaluated": self._evaluated,
            "swaps": [asdict(swap) for swap in self.swaps],
            "patience": self._patience.state_dict(),
            "runs": [run.state_dict() for run in self.runs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a new experiment of the same specification into a state; what follows is the same to the bit."""
        for swap in state["swaps"]:
            self.step = swap["step"]
            self.swap(swap["run"], swap["estimator"], swap["k"])
        self.step, self._evaluated = state["step"], state["evaluated"]
        self._patience.load_state_dict(state.get("patience", Patience().state_dict()))
        for run, of_run in zip(self.runs, state["runs"], strict=True):
            run.load_state_dict(of_run)


def _tried(run: Run, x: Tensor, step: int) -> tuple[tuple[float, float], str, float]:
    """The bounds of one run on a minibatch, what is not finite about them or their gradient, and its processor time."""
    began = time.thread_time()
    bounds = run.gradient(x, step)
    return bounds, run.broken(bounds), time.thread_time() - began


def load_models(state: dict[str, Any]) -> tuple[ExperimentSpec, list[Model]]:
    """The specification of a checkpoint written from `Experiment.state_dict`, and its models, on the processor."""
    experiment = Experiment(ExperimentSpec.from_json(state["spec"]), PROCESSOR)
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
