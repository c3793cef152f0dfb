"""About how long a group of cells still takes on this machine, from a few steps and one image that are tried."""

import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise
from statistics import median

from iwae_core.data import DATASETS
from iwae_core.device import training_device
from iwae_core.evaluation.held_out import log_weights
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec

TRIES = 3


def training_seconds(spec: ExperimentSpec, made: int) -> float:
    """Of the steps that are left after `made`, and the evaluations between them."""
    seconds = 0.0
    for now, begin, end in _stages(spec, made):
        evaluations, at = 0, begin
        while at < end:
            evaluations, at = evaluations + 1, min(end, now.next_snapshot(at))
        seconds += (end - begin) * _step(now) + evaluations * evaluation_seconds(now, now.eval_images, now.eval_k)
    return seconds


def _stages(spec: ExperimentSpec, made: int) -> Iterator[tuple[ExperimentSpec, int, int]]:
    """The experiment between swaps, from which step to which."""
    changes = sorted({made, spec.steps, *(swap.step for swap in spec.swaps if swap.step > made)})
    for begin, end in pairwise(changes):
        now = spec
        for swap in spec.swaps:
            now = now.swapped(swap) if swap.step <= begin else now
        yield now, begin, end


def evaluation_seconds(spec: ExperimentSpec, images: int, samples: int) -> float:
    """Of the evaluation of so many images by all models."""
    return images * _image(spec, samples)


@cache
def _step(spec: ExperimentSpec) -> float:
    x = DATASETS[spec.dataset]().minibatch(spec.seed, 0, spec.batch_size)
    return _side_by_side([_seconds(partial(run.step, x, 0)) for run in _runs(spec)])


@cache
def _image(spec: ExperimentSpec, samples: int) -> float:
    x = DATASETS[spec.dataset]().held_out(spec.seed, 1)
    return _side_by_side([_seconds(partial(log_weights, run.model, x, samples, spec.seed)) for run in _runs(spec)])


def _runs(spec: ExperimentSpec) -> list[Run]:
    pixel_means = DATASETS[spec.dataset]().train_mean
    return [Run(run, spec, pixel_means, training_device()) for run in spec.runs]


def _side_by_side(seconds: list[float]) -> float:
    """Each run has a thread, and each thread a core if there are enough."""
    return sum(seconds) / min(len(seconds), os.cpu_count() or 1)


def _seconds(work: Callable[[], object]) -> float:
    """The median of a few times, after one that warms up."""
    work()
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)
