"""One contestant in a process of its own: `worker.py CONTESTANT BATCH K CORES START`.

It answers in JSON, one line each: first with what it has been checked by, then for every number of steps it reads with
the time they took.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any, TextIO

CHECK_STEPS = 20
CHECK_REPEATS, CHECK_SAMPLES = range(20, 201), 100_000  # as many estimates as this many samples allow
LEARNING_RATE = 1e-3


def main(file: str, batch: str, k: str, cores: str, start: str) -> None:
    """Serve until the input ends."""
    pin([int(core) for core in cores.split(",")])
    sys.path[0] = str(Path(__file__).parents[1])
    with answers() as out:
        try:
            contestant, minibatches = build(Path(file), int(batch), int(k), len(cores.split(",")), start)
            repeats = CHECK_SAMPLES // (int(batch) * int(k))
            ready = check(contestant, minibatches, min(max(repeats, CHECK_REPEATS[0]), CHECK_REPEATS[-1]))
        except Exception as error:  # a library that is missing, or does not work with the versions installed
            say(out, {"not_run": f"{type(error).__name__}: {error}".splitlines()[0]})
            return
        say(out, ready)
        endless = cycle(minibatches)
        for line in sys.stdin:
            say(out, timed(contestant, islice(endless, int(line))))


def pin(cores: list[int]) -> None:
    """Stay on these cores, with as many threads; before any library is imported, since they count cores then."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(len(cores))


@contextmanager
def answers() -> Iterator[TextIO]:
    """Standard output for answers alone: what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        yield out


def say(out: TextIO, answer: dict[str, Any]) -> None:
    """One line."""
    print(json.dumps(answer), file=out, flush=True)


def build(file: Path, batch: int, k: int, threads: int, start: str) -> tuple[Any, list[Any]]:
    """The contestant of a file at the common start, and the minibatches as it wants them."""
    import numpy as np

    from benchmarks.contestants.contestant import Task

    with np.load(start) as arrays:
        common = dict(arrays)
    x = common.pop("x")
    spec = importlib.util.spec_from_file_location("contestant", file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    contestant = module.CONTESTANT(Task(k, LEARNING_RATE, common, threads))
    return contestant, [contestant.load(x[i : i + batch]) for i in range(0, len(x) - batch + 1, batch)]


def check(contestant: Any, minibatches: list[Any], repeats: int) -> dict[str, Any]:
    """Repeated estimates of the bound of the first minibatch, at the common start and after steps on it alone.

    Steps on one minibatch gain several nats, many times more than their noise makes contestants differ.
    """
    first = minibatches[0]
    before = bounds(contestant, first, repeats)
    timed(contestant, repeat(first, CHECK_STEPS))
    return {"before": before, "after": bounds(contestant, first, repeats)}


def bounds(contestant: Any, x: Any, repeats: int) -> list[float]:
    """Empty for a contestant without a model."""
    estimates = [contestant.bound(x) for _ in range(repeats)]
    return [estimate for estimate in estimates if estimate is not None]


def timed(contestant: Any, minibatches: Iterator[Any]) -> dict[str, float]:
    """Seconds for each model: of the clock, and of this process on all its cores together."""
    wall, processor = time.perf_counter(), time.process_time()
    for x in minibatches:
        contestant.step(x)
    contestant.wait()
    passed = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    return {clock: seconds / contestant.models for clock, seconds in passed.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
