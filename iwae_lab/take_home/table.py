"""Every number of an experiment as one table."""

import csv
import io
import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from iwae_core.evaluation.estimate import Floats, estimate
from iwae_core.training.events import Snapshot
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History, Training
from iwae_lab.take_home.recipe import performed

ABOUT_DATA = "dataset", "binarisation"  # columns beside those of `Row`: the same in every row


class Row(NamedTuple):
    """One number; None where a column does not apply. `what` is one of

    - `training_elbo`, `training_L_k`: one step's mean over its minibatch, from the k training samples of each image
    - `training_processor_seconds`: what the step cost this run alone, in seconds of processor time
    - `training_samples_kept`: the share of the samples that took part in the backward pass, if not all did
    - `elbo`, `L_k`: one evaluation's mean over held-out images, and its standard error; the ELBO is the same at every k
    - `elbo_lead`, `L_k_lead`: the mean of the paired difference from run 0, and its own standard error
    - `elbo_spread`, `L_k_spread`: the standard deviation of one k-sample estimate of one image, root mean square over
      images; of L_k as far as an evaluation's samples can tell
    - `log_p`: the exact log p(x), where the model knows it: mean over held-out images and its standard error
    - `active_units`, `latent_units`: how many latent units are active, and how many there are
    - `elbo_of_image`, `L_k_of_image`, `log_p_of_image`: of one image of the last evaluation
    - `log_weight`: of one of the first samples of an image that is shown, in the last evaluation

    `seconds` are those of training, evaluations included and pauses excluded, when the step was made; `run`, `image`
    and `sample` count from 0; `estimator` is the one that made the step, or the last one before the evaluation. Values
    are in nats, but for processor seconds and numbers of units. Older logs do not tell all of this.
    """

    what: str
    step: int
    seconds: float
    run: int
    estimator: str
    model: str
    k: int | None
    image: int | None
    sample: int | None
    value: float
    standard_error: float | None


def csv_text(history: History, every: int = 1) -> str:
    """Every number of an experiment as RFC 4180 text; floats can be read back to the bit.

    The columns are those of `Row`, then the data set and its binarisation. Of the training steps, those divisible by
    `every` and the newest; 1 leaves nothing out. All text in it is a column name or a name from a registry, so no cell
    can be a formula.

    Raises:
        ValueError, SpecError: as `rows`.
    """
    text, spec = io.StringIO(newline=""), performed(history)
    data = [getattr(spec, name) for name in ABOUT_DATA]
    writer = csv.writer(text)
    writer.writerow((*Row._fields, *ABOUT_DATA))
    writer.writerows((*row, *data) for row in rows(history, every))
    return text.getvalue()


def rows(history: History, every: int = 1) -> Iterator[Row]:
    """The rows of `csv_text`: training first, then evaluations, each in the order of its steps.

    Raises:
        ValueError: `every` is less than 1, or nothing has begun.
        SpecError: the log names an estimator that there is not.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1; got {every}; use 1 for all training steps")
    spec = performed(history)
    yield from _training(spec, history.training, every)
    for snapshot in history.snapshots:
        for common, elbo, iwae in _evaluated(spec, history, snapshot):
            yield from _means(common, "", elbo, iwae, spec.eval_ks)
            if common[2]:
                yield from _means(common, "_lead", elbo - snapshot.elbo[0], iwae - snapshot.iwae[0], spec.eval_ks)
            yield from _measured(common, snapshot, spec.eval_ks)
    for snapshot in history.snapshots[-1:]:
        for common, elbo, iwae in _evaluated(spec, history, snapshot):
            yield from _images(common, elbo, iwae, spec.eval_ks)
            yield from _samples(common, snapshot)


Common: TypeAlias = tuple[int, float, int, str, str]  # step, seconds, run, estimator, model


def _evaluated(spec: ExperimentSpec, history: History, snapshot: Snapshot) -> Iterator[tuple[Common, Floats, Floats]]:
    """For each run what its rows have in common, and its ELBO and L_k of each image."""
    seconds = float(history.training.seconds[snapshot.step - 1]) if snapshot.step else 0.0
    for run, (elbo, iwae) in enumerate(zip(snapshot.elbo, snapshot.iwae, strict=True)):
        now = _run_before(spec, run, snapshot.step)
        yield (snapshot.step, seconds, run, now.estimator, now.model), elbo, iwae


def _run_before(spec: ExperimentSpec, run: int, step: int) -> RunSpec:
    """The run as it was in the step that led to `step`, counted from 1; before any, as it began."""
    now = spec.runs[run]
    for swap in sorted(spec.swaps, key=lambda swap: swap.step):
        if swap.run == run and swap.step < step:
            now = now.swapped(swap.estimator, swap.k)
    return now


def _training(spec: ExperimentSpec, made: Training, every: int) -> Iterator[Row]:
    """Two rows for each step and run; more where the log tells its cost, and where samples were left out of it."""
    changes = sorted({0, *(swap.step for swap in spec.swaps)})
    stages = {step: [_run_before(spec, run, step + 1) for run in range(len(spec.runs))] for step in changes}
    keep = made.steps % every == 0
    keep[-1:] = True
    for step, seconds, *of_runs in zip(*(values[keep].tolist() for values in made), strict=True):
        stage = stages[max(change for change in changes if change < step)]
        for run, (now, elbo, iwae, cost, kept) in enumerate(zip(stage, *of_runs, strict=True)):
            common = int(step), seconds, run, now.estimator, now.model
            yield Row("training_elbo", *common, now.k, None, None, elbo, None)
            yield Row("training_L_k", *common, now.k, None, None, iwae, None)
            if not math.isnan(cost):
                yield Row("training_processor_seconds", *common, now.k, None, None, cost, None)
            if kept < 1:
                yield Row("training_samples_kept", *common, now.k, None, None, kept, None)


def _means(common: Common, suffix: str, elbo: Floats, iwae: Floats, ks: tuple[int, ...]) -> Iterator[Row]:
    mean, stderr = estimate(elbo)
    yield Row(f"elbo{suffix}", *common, None, None, None, float(mean), float(stderr))
    for k, mean, stderr in zip(ks, *estimate(iwae), strict=True):
        yield Row(f"L_k{suffix}", *common, k, None, None, float(mean), float(stderr))


def _measured(common: Common, snapshot: Snapshot, ks: tuple[int, ...]) -> Iterator[Row]:
    """What else an evaluation tells of one run; what it cannot know, such as the spread at the largest k, is NaN."""
    run = common[2]
    for what, spread in zip(("elbo_spread", "L_k_spread"), _of(run, snapshot.spread), strict=False):
        for k, value in zip(ks, spread.tolist(), strict=True):
            if not math.isnan(value):
                yield Row(what, *common, k, None, None, value, None)
    if (log_p := _of(run, snapshot.log_p)).size and np.isfinite(log_p).all():
        mean, stderr = estimate(log_p)
        yield Row("log_p", *common, None, None, None, float(mean), float(stderr))
    for what, counts in ("active_units", snapshot.active), ("latent_units", snapshot.units):
        if counts.size:
            yield Row(what, *common, None, None, None, float(counts[run]), None)


def _of(run: int, values: Floats) -> Floats:
    """The run's part of what a snapshot holds; of older snapshots, nothing."""
    return values[run] if values.size else values


def _images(common: Common, elbo: Floats, iwae: Floats, ks: tuple[int, ...]) -> Iterator[Row]:
    for image, value in enumerate(elbo.tolist()):
        yield Row("elbo_of_image", *common, None, image, None, value, None)
    for k, values in zip(ks, iwae.tolist(), strict=True):
        for image, value in enumerate(values):
            yield Row("L_k_of_image", *common, k, image, None, value, None)


def _samples(common: Common, snapshot: Snapshot) -> Iterator[Row]:
    """What only the last evaluation tells image by image: log p(x) where it is known, and single log-weights."""
    for image, value in enumerate(_of(common[2], snapshot.log_p).tolist()):
        if not math.isnan(value):
            yield Row("log_p_of_image", *common, None, image, None, value, None)
    for sample, values in enumerate(_of(common[2], snapshot.log_weights).tolist()):
        for image, value in enumerate(values):
            yield Row("log_weight", *common, None, image, sample, value, None)
