"""What to compute, in names and numbers: checked in one place for the page, the URL and the command line."""

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from iwae_core.bounds.curves import nested_grid
from iwae_core.data import BINARISATIONS, DATASETS
from iwae_core.estimators import ESTIMATORS, UnsupportedError, require
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.training.fields import SpecError, check, name, number
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.starts import RANDOM, STARTS

SETTINGS = ("alpha", "beta", "repeats")  # of single estimators
MAX_RUNS = 4
MAX_K = 5000
MAX_STEPS = 20_000_000  # the paper's longest experiment takes 16.4 million
MAX_SAMPLES = 500_000  # of one training step: their noise alone takes 100 MB


@dataclass(frozen=True)
class RunSpec:
    """One model trained by one estimator.

    Raises:
        SpecError: an unknown name, a number out of range, an estimator that this model or k cannot support, a setting
            that the estimator does not take, or repeats that do not divide k.
    """

    estimator: str = name(ESTIMATORS, "iwae")
    k: int = number(50, 1, MAX_K, "training k: samples per image")
    model: str = name(MODELS, "one_layer")
    alpha: float | None = number(None, -20.0, 20.0, "order of the Rényi bound")
    beta: float | None = number(None, 0.0, 1.0, "weight of the ELBO in CIWAE, inner temperature of TVO")
    repeats: int | None = number(None, 1, MAX_K, "repeats M of MIWAE and PIWAE")
    backward: str = name(BACKWARDS, "counting")

    def __post_init__(self) -> None:
        check(self)
        try:
            taken = require(self.estimator, self.k, MODELS[self.model].paths).settings
        except UnsupportedError as error:
            raise SpecError(str(error)) from error
        for setting in self.settings.keys() - taken.keys():
            own = f"it takes {', '.join(taken)}" if taken else "it has no settings"
            raise SpecError(f"{self.estimator} takes no {setting}; {own}; leave {setting} out")
        if self.repeats and self.k % self.repeats:
            raise SpecError(f"repeats must divide k = {self.k}; got {self.repeats}")

    @property
    def settings(self) -> dict[str, int | float]:
        """The estimator's own settings that were given; the others keep the estimator's defaults."""
        return {setting: getattr(self, setting) for setting in SETTINGS if getattr(self, setting) is not None}

    def swapped(self, estimator: str, k: int) -> "RunSpec":
        """The same model trained by another estimator, with that estimator's default settings."""
        return RunSpec(estimator, k, self.model, backward=self.backward)

    @property
    def label(self) -> str:
        """The estimator's name for people."""
        return ESTIMATORS[self.estimator].label


@dataclass(frozen=True, kw_only=True)
class Swap:
    """After `step` steps, run number `run` (from 0) goes on with another estimator and k.

    Its weights and its optimiser's moments continue: the parameters are the same, only what is asked of them changes.

    Raises:
        SpecError: an unknown estimator, or a number out of range.
    """

    run: int = number(MISSING, 0, MAX_RUNS - 1, "number of the run, from 0")
    step: int = number(MISSING, 0, MAX_STEPS, "steps before the swap")
    estimator: str = name(ESTIMATORS)
    k: int = number(MISSING, 1, MAX_K, "samples per image after the swap")

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def parse(cls, text: str) -> "Swap":
        """A swap written as RUN:STEP:ESTIMATOR:K.

        Raises:
            SpecError: it is not written so, or holds an unknown estimator or a number out of range.
        """
        match text.split(":"):
            case [run, step, estimator, k] if all(n.isascii() and n.isdigit() for n in (run, step, k)):
                return cls(run=int(run), step=int(step), estimator=estimator, k=int(k))
        raise SpecError(f"expected RUN:STEP:ESTIMATOR:K, as in 0:1000:iwae:50; got {text[:80]!r}")

    def __str__(self) -> str:
        return f"{self.run}:{self.step}:{self.estimator}:{self.k}"


@dataclass(frozen=True)
class ExperimentSpec:
    """Runs trained in lockstep on the same minibatches, the same binarisation and the same noise.

    All start from the same weights: those that the seed gives, or those of a trained model, see `Start`; Adam's moments
    begin at zero either way. They end after `steps`, or earlier: with the first step that ends after `seconds`, or when
    the bounds of `patience` evaluations in a row were no better than before (see `Patience`). For the latter the last
    `eval_images` training images are kept aside, neither trained on nor reported: what is evaluated and shown are test
    images, as always.

    Raises:
        SpecError: an unknown name, a number out of range, too many runs or samples, a swap that cannot be made, or a
            start with weights of another network.
    """

    runs: tuple[RunSpec, ...] = (RunSpec("vae"), RunSpec("iwae"))
    dataset: str = name(DATASETS, "mnist")
    batch_size: int = number(100, 1, 1000, "images per minibatch")
    learning_rate: float = number(1e-3, 1e-6, 0.1, "learning rate")
    steps: int = number(3000, 1, MAX_STEPS, "training steps")
    seed: int = number(0, 0, 2**31 - 1, "seed")
    eval_images: int = number(100, 2, 10_000, "held-out images per evaluation")
    eval_k: int = number(1000, 1, 10_000, "largest k of an evaluation")
    schedule: str = name(SCHEDULES, "constant")
    swaps: tuple[Swap, ...] = ()
    seconds: float | None = number(None, 0.1, 10_000_000.0, "seconds of training, pauses excluded")
    patience: int | None = number(
        None, 1, 1000, "evaluations without improvement before the end, on training images kept aside"
    )
    start: str = name(STARTS, RANDOM)
    binarisation: str = name(BINARISATIONS, "dynamic")

    def __post_init__(self) -> None:
        check(self)
        if not 1 <= len(self.runs) <= MAX_RUNS:
            raise SpecError(f"an experiment has 1 to {MAX_RUNS} runs; got {len(self.runs)}")
        samples = self.batch_size * max(run.k for run in self.runs)
        if samples > MAX_SAMPLES:
            raise SpecError(f"k times batch_size must be at most {MAX_SAMPLES:,}; got {samples:,}; reduce one of them")
        self._check_start()
        for swap in self.swaps:
            self.swapped(swap)
            if swap.step >= self.steps:
                raise SpecError(f"a swap must come before the last of {self.steps:,} steps; got step {swap.step:,}")

    def _check_start(self) -> None:
        fits = STARTS[self.start].model
        for run in self.runs:
            if fits not in (None, run.model):
                raise SpecError(
                    f"the weights of start {self.start!r} are those of a {fits}, and a run is a {run.model}; "
                    f"set model to {fits}, or start to {RANDOM}"
                )

    def swapped(self, swap: Swap) -> "ExperimentSpec":
        """The experiment as it is after this swap alone.

        Raises:
            SpecError: no such run, or too many samples for one step.
        """
        if swap.run >= len(self.runs):
            last = len(self.runs) - 1
            raise SpecError(f"there is no run {swap.run} to swap; the runs are numbered from 0 to {last}")
        runs = list(self.runs)
        runs[swap.run] = runs[swap.run].swapped(swap.estimator, swap.k)
        return replace(self, runs=tuple(runs), swaps=())

    @property
    def eval_ks(self) -> tuple[int, ...]:
        """The values of k at which the bounds are evaluated."""
        return nested_grid(self.eval_k)

    def next_snapshot(self, step: int) -> int:
        """The step of the evaluation that follows one at `step`: soon enough to watch, at most a third of all the work.

        A training sample costs a forward and a backward pass, about three times an evaluation sample. Late in a long
        run little changes from step to step, so the distance grows with the steps made. Patience evaluates twice.
        """
        evaluation = self.eval_images * self.eval_k * len(self.runs) * (2 if self.patience else 1)
        training = 3 * self.batch_size * sum(run.k for run in self.runs)
        return min(self.steps, step + max(math.ceil(2 * evaluation / training), step // 50))

    def to_json(self, indent: int | None = None) -> str:
        """A JSON object, indented for people; `from_json` reads it back."""
        return json.dumps(asdict(self), indent=indent)

    @classmethod
    def from_json(cls, text: str) -> "ExperimentSpec":
        """The specification written by `to_json`.

        Raises:
            SpecError: not JSON, unknown or missing fields, or values out of range.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            values["runs"] = tuple(RunSpec(**{"backward": "all"} | run) for run in values["runs"])  # as it once was
            values["swaps"] = tuple(Swap(**swap) for swap in values.get("swaps", ()))
            return cls(**values)
        except SpecError:
            raise
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise SpecError(f"not an experiment specification: {error}") from error


def changed(spec: RunSpec | ExperimentSpec, names: Sequence[str]) -> dict[str, Any]:
    """The fields among `names` that are not defaults."""
    defaults = {f.name: f.default for f in fields(spec)}
    return {field: getattr(spec, field) for field in names if getattr(spec, field) != defaults[field]}
