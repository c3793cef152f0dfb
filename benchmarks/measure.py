"""Rounds of measurement, one contestant at a time, refused unless all of them compute the same."""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.agreement import agree
from benchmarks.comparisons import Comparison
from benchmarks.contestants.contestant import LAYERS
from benchmarks.contestants.core import linear_maps
from benchmarks.noise import noise, others, waited
from benchmarks.process import Worker
from iwae_core.data import DATASETS
from iwae_core.device import processor
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec

START_IMAGES = 2000


class Effort(NamedTuple):
    """How long to measure."""

    rounds: int
    seconds: float  # of one contestant in one round
    start_steps: int  # of training before anything is measured: weights at rest are not what training meets


FULL, QUICK = Effort(9, 0.5, 300), Effort(2, 0.01, 5)


def measure(
    comparisons: Sequence[Comparison], cores: Sequence[int], peers: str, effort: Effort
) -> Iterator[dict[str, Any]]:
    """Every comparison on these cores, as they come: seconds a step in each round of each entry, why an entry was not
    run, and what else the machine did.

    On one core the seconds are the processor's, which other programs on the machine lengthen least; on several, those
    of the clock. `peers` is the Python that has the other libraries.

    Raises:
        BenchError: contestants disagree about the bound, or one has died.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.npz"
        write_start(start, effort.start_steps)
        for comparison in comparisons:
            yield _compare(comparison, cores, peers, effort, start)


def write_start(path: Path, steps: int) -> None:
    """What all contestants share: weights after some training steps, and images, binarised once."""
    data = DATASETS["mnist"]()
    spec = RunSpec("iwae", 5, backward="all")
    run = Run(spec, ExperimentSpec((spec,)), data.train_mean)
    for step in range(steps):
        run.step(data.minibatch(0, step, 100), step)
    arrays = {"x": data.minibatch(1, 0, START_IMAGES).numpy()}
    for name, layer in zip(LAYERS, linear_maps(run.model), strict=True):
        arrays |= {f"{name}.{part}": value.detach().numpy() for part, value in layer.named_parameters()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _compare(comparison: Comparison, cores: Sequence[int], peers: str, effort: Effort, start: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(entry, cores, peers, start)) for entry in comparison.entries]
        checks = [worker.answer() for worker in workers]
        agree(comparison.entries, checks)
        running = [worker for worker, check in zip(workers, checks, strict=True) if "not_run" not in check]
        clock = "processor" if len(cores) == 1 else "wall"
        counts = {worker: max(1, round(effort.seconds / worker.steps(2)[clock])) for worker in running}
        times: dict[Worker, list[dict[str, float]]] = {worker: [] for worker in workers}
        before = others()
        for turn in range(effort.rounds):
            for worker in running[turn % len(running) :] + running[: turn % len(running)]:
                times[worker].append(worker.steps(counts[worker]))
        found = noise(before, others(), _waited(times[workers[0]], len(cores)))
    entries = [
        worker.entry.facts() | check | {"seconds": [each[clock] for each in times[worker]]}
        for worker, check in zip(workers, checks, strict=True)
    ]
    return {"comparison": comparison.name, "cores": len(cores), "noise": found, "entries": entries}


def _waited(times: Sequence[dict[str, float]], cores: int) -> float | None:
    """How long this project's own steps waited for their core; on several its threads also wait for one another."""
    if cores > 1:
        return None
    return waited([each["wall"] for each in times], [each["processor"] for each in times])


def machine() -> dict[str, Any]:
    """Where this was measured."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
    }
