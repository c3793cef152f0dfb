"""The only training loop: several runs in lockstep on the same minibatches, binarisation and noise."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.data import BINARISATIONS, DATASETS
from iwae_core.device import PROCESSOR, on_processor, training_device
from iwae_core.evaluation.held_out import bound_curves
from iwae_core.models import Model
from iwae_core.randomness import generator
from iwae_core.training.closeup import Before, RunBefore, both_bounds, look, shown, weigh
from iwae_core.training.events import Closeup, Event, Failed, Finished, Progress, Snapshot, Started, Swapped
from iwae_core.training.patience import Patience
from iwae_core.training.process import prepare_process
from iwae_core.training.run import Run
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.snapshots import DIGITS, pictures, snapshot
from iwae_core.training.spec import ExperimentSpec, Swap

A = TypeVar("A")
B = TypeVar("B")
ASK_EVERY = 0.05  # seconds between two questions whether to give up


class GivenUpError(Exception):
    """A step or an evaluation was given up before its end; the experiment's state is that before it."""


class Experiment:
    """A paired experiment: all its runs start from the same weights and see the same data and noise.

    `step` counts the training steps made; `swaps` are those made so far, planned or not, in order. `give_up` is asked
    now and then while a step or an evaluation is computed, which can take minutes. Once it says yes nothing more than
    the state can be had from this experiment, and what it was computing goes on until the process ends.

    Raises:
        DataError: a file of the data set is missing, truncated or altered.
        DeviceError: IWAE_DEVICE names none that there is.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        device: torch.device | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self.step = 0
        self.swaps: list[Swap] = []
        self.data = BINARISATIONS[spec.binarisation](DATASETS[spec.dataset](), spec.seed)
        device = device or training_device()
        # Patience looks at images that are neither trained on nor told of in any result.
        self._training = self.data.validating(spec.eval_images) if spec.patience else self.data
        self._validation = self._training.held_out(spec.seed, spec.eval_images)
        self.runs = [Run(run, spec, self._training.train_mean, device) for run in spec.runs]
        self.held_out = self.data.held_out(spec.seed, spec.eval_images)
        self._now = spec  # after the swaps made
        self._evaluated = -1  # the step of the last evaluation
        self._patience = Patience()
        self._ending = ""  # why no further step is to be made
        self._give_up = give_up
        # Runs share nothing within a step, so each has a thread: torch lets go of the interpreter while it computes.
        self._threads = ThreadPoolExecutor(min(len(self.runs), os.cpu_count() or 1), initializer=prepare_process)

    def train(self) -> Iterator[Event]:
        """The events still to come, lazily: whoever iterates decides when the next step is made, if at all.

        Raises:
            GivenUpError: see the class.
        """
        if not self.begun:
            yield Started(self.spec.to_json(), pictures(self.held_out[:DIGITS]))
        while True:
            if self._evaluation_due():
                snapshot = self.snapshot(self.step)
                if self.spec.patience:
                    self._patience.look(self._validated())
                self._evaluated = self.step
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

    def _each(self, compute: Callable[[A], B], of: list[A]) -> list[B]:
        """What a function makes of each, every one in a thread of its own."""
        futures = [self._threads.submit(compute, one) for one in of]
        while wait(futures, ASK_EVERY).not_done:
            if self._give_up():
                raise GivenUpError
        return [future.result() for future in futures]

    def _advance(self) -> Progress | Failed:
        """One step of all runs, or of none: what is not finite is never followed."""
        x = self._training.minibatch(self.spec.seed, self.step, self.spec.batch_size)
        factor = SCHEDULES[self.spec.schedule](self.step, self.spec.steps)
        for run in self.runs:
            run.set_learning_rate(self.spec.learning_rate * factor)
        bounds, broken, cost = zip(*self._each(partial(_tried, x=x, step=self.step), self.runs), strict=True)
        for number, (run, problem) in enumerate(zip(self.runs, broken, strict=True), 1):
            if problem:
                name = f"run {number} ({run.spec.label}, k = {run.spec.k})"
                return Failed(self.step, f"{name}: {problem} in step {self.step + 1:,}; try a smaller learning rate")
        deque(self._threads.map(Run.update, self.runs, bounds), maxlen=0)
        self.step += 1
        elbos, iwaes = zip(*bounds, strict=True)
        kept = tuple(round(run.kept, 5) for run in self.runs)
        return Progress(
            self.step, elbos, iwaes, tuple(round(seconds, 5) for seconds in cost), kept if min(kept) < 1 else ()
        )

    def _out_of_patience(self) -> bool:
        """Whether the specification's patience is at its end; never before the last planned swap."""
        swaps_to_come = any(swap.step >= self.step for swap in self.spec.swaps)
        return self.spec.patience is not None and self._patience.count >= self.spec.patience and not swaps_to_come

    def _validated(self) -> NDArray[np.float32]:
        """L_K of every run on the images kept aside, `[runs, images]`."""
        bound = partial(bound_curves, x=self._validation, ks=(self.spec.eval_k,), seed=self.spec.seed)
        models = [run.model for run in self.runs]
        return np.stack([curves.iwae[0].float().numpy() for curves in self._each(bound, models)])

    @property
    def begun(self) -> bool:
        """Whether its first evaluation is made; before that its state is that of a new one."""
        return self._evaluated >= 0

    @property
    def between_steps(self) -> bool:
        """Whether the next event is a step: the moment to swap, and to take or restore a state."""
        due = self._evaluation_due() or self._swaps_due() or self._out_of_patience()
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
        return snapshot(step, models, self.held_out, self.spec.eval_ks, self.spec.seed, self._each)

    def look(self) -> Before:
        """The first image of the next minibatch and its samples as every run sees them, before the step is made."""
        x = self._training.minibatch(self.spec.seed, self.step, self.spec.batch_size)
        return Before(self.step, x[:1], tuple(self._each(partial(_seen, x=x, step=self.step), self.runs)))

    def compare(self, before: Before) -> Closeup:
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
            "validation": self._patience.state_dict(),
            "runs": [run.state_dict() for run in self.runs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a new experiment of the same specification into a state; what follows is the same to the bit."""
        for swap in state["swaps"]:
            self.step = swap["step"]
            self.swap(swap["run"], swap["estimator"], swap["k"])
        self.step, self._evaluated = state["step"], state["evaluated"]
        # What older programs kept, as "patience", is of test images: the count starts again.
        self._patience.load_state_dict(state.get("validation", Patience().state_dict()))
        for run, of_run in zip(self.runs, state["runs"], strict=True):
            run.load_state_dict(of_run)


def _tried(run: Run, x: Tensor, step: int) -> tuple[tuple[float, float], str, float]:
    """The bounds of one run on a minibatch, what is not finite about them or their gradient, and its processor time."""
    began = time.thread_time()
    bounds = run.gradient(x, step)
    return bounds, run.broken(bounds), time.thread_time() - began


def _seen(run: Run, x: Tensor, step: int) -> RunBefore:
    """What a run makes of the first image of a minibatch; its noise is the first of the whole minibatch's."""
    model = on_processor(run.model)
    noise = model.noise(run.spec.k, len(x), generator(run.seed, "noise", step))
    return look(model, run.estimator, x[:1], tuple(layer[:, :1] for layer in noise), **run.spec.settings)


def load_models(state: dict[str, Any]) -> tuple[ExperimentSpec, list[Model]]:
    """The specification of a checkpoint written from `Experiment.state_dict`, and its models, on the processor."""
    experiment = Experiment(ExperimentSpec.from_json(state["spec"]), PROCESSOR)
    experiment.load_state_dict(state)
    return experiment.spec, [run.model for run in experiment.runs]


def train(spec: ExperimentSpec) -> Iterator[Event]:
    """Train all runs of an experiment, one event at a time."""
    return Experiment(spec).train()
