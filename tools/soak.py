"""`make soak`: hundreds of runs are started and cancelled while workers are killed. Then nothing may be lost or left.

Visitors start runs of an engine of worker processes, watch each for a while and cancel it, in the queue, in training or
paused; every twentieth they leave alone. Exit code 1, and a line for each, if a run was lost, made a step twice or
left one out, if a process, a descriptor or half a file was left behind, or if memory grew by more than 5 per cent.
"""

import argparse
import gc
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

from iwae_core.training.events import Failed, Finished, Progress
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import Engine, EngineFullError, EngineLimits, open_engine
from iwae_lab.engines.local import WorkerProcesses
from iwae_lab.engines.protocol import Command, Pause, Step, Stop
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import LogReader

LONG = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1_000_000, eval_images=2, eval_k=1)
HEAVY = ExperimentSpec(runs=(RunSpec("iwae", 5000),), batch_size=100, steps=10, eval_images=2, eval_k=1)
PATIENCE = 300.0  # seconds that one run may take to get a slot and to end


class Taken(NamedTuple):
    """MB of memory, descriptors and processes."""

    memory: float
    descriptors: int
    processes: int


class Soak:
    """Visitors, and whoever kills workers, on one engine."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.engine = open_engine("local", folder, EngineLimits(slots=slots, queue=40, tick=0.1))
        self.started: Counter[str] = Counter()
        self.kills = self.refusals = 0
        self.stops: list[float] = []
        self._over = threading.Event()

    @property
    def backend(self) -> WorkerProcesses:
        """The engine's."""
        assert isinstance(self.engine.backend, WorkerProcesses)
        return self.engine.backend

    def visit(self, visitor: int, runs: int) -> None:
        """Start so many runs, one after the other, and cancel each."""
        chance, owner = random.Random(visitor), f"visitor {visitor}"
        for number in range(runs):
            experiment = self._submit(HEAVY if number % 10 == 9 else LONG, owner)
            if chance.random() < 0.05:
                continue  # and is not seen again
            self._watch(experiment, chance.choice([0, 0, 1, 5, 20]) if number % 10 < 9 else 0)
            if chance.random() < 0.3:
                self.engine.send(experiment, chance.choice(list[Command]([Pause(), Step()])), owner)
            self.engine.send(experiment, Stop(), owner)
            began = time.monotonic()
            self._watch(experiment)
            self.stops.append(time.monotonic() - began)

    def _submit(self, spec: ExperimentSpec, owner: str) -> str:
        while True:
            try:
                experiment = self.engine.submit(spec, owner)
            except EngineFullError:
                self.refusals += 1
                time.sleep(0.5)
            else:
                self.started[owner] += 1
                return experiment

    def _watch(self, experiment: str, step: float = inf) -> None:
        """Look at a run until it has made so many steps, or has ended."""

        def seen() -> bool:
            self.engine.touch(experiment)
            return self.engine.history(experiment).step >= step or not self.engine.state(experiment).active

        self._until(seen)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("a run did not get on")
            time.sleep(0.05)

    def kill(self, every: float) -> None:
        """Kill a worker that trains, now and then."""
        while not self._over.wait(every):
            if workers := list(self.backend._workers.values()):
                os.kill(random.choice(workers).process.pid, signal.SIGKILL)
                self.kills += 1

    def settle(self) -> "Taken":
        """What this process takes once every run has ended."""
        for owner in self.started:
            for experiment in self.engine.experiments(owner):
                self.engine.send(experiment, Stop(), owner)
        self._until(lambda: not any(job for job in self.engine._jobs) and len(self.backend._spares) == 1)
        self.engine._histories.tidy(0.0)
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return Taken(megabytes, len(os.listdir("/proc/self/fd")), len(children()))

    def run(self, visitors: int, runs: int, every: float) -> None:
        """All visitors at the same time."""
        killer = threading.Thread(target=self.kill, args=(every,))
        killer.start()
        try:
            with ThreadPoolExecutor(visitors) as crowd:
                list(crowd.map(self.visit, range(visitors), [runs // visitors] * visitors))
        finally:
            self._over.set()
            killer.join()
            self._over.clear()


def children() -> set[int]:
    """Processes of this one that live."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def problems(engine: Engine, started: Counter[str]) -> list[str]:
    """What has been lost or left on disk."""
    found = []
    for owner, count in started.items():
        experiments = engine.experiments(owner)
        if len(experiments) != count:
            found.append(f"{owner} started {count} runs and has {len(experiments)}")
        for experiment in experiments:
            found += [f"run {experiment} {what}" for what in _lost(engine, experiment)]
    return found + [f"{path} is left" for path in engine.folder.rglob("*.partial")]


def _lost(engine: Engine, experiment: str) -> Iterator[str]:
    outcome = engine.history(experiment).outcome
    if not (isinstance(outcome, Finished) or (isinstance(outcome, Failed) and "3 times in a row" in outcome.message)):
        yield f"is {engine.state(experiment)}: {outcome}"
    records = LogReader(engine.folder / experiment / LOG).new()
    steps = [record.event.step for record in records if isinstance(record.event, Progress)]
    if steps != list(range(1, len(steps) + 1)):
        yield "has steps twice, or not at all"


def main() -> int:
    """Soak, and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], prog="python -m tools.soak")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), options.slots)
        soak.run(options.slots, 2 * options.slots, options.kill_every)  # memory is what it will be
        before, began = soak.settle(), time.monotonic()
        soak.run(options.visitors, options.runs, options.kill_every)
        after, seconds = soak.settle(), time.monotonic() - began
        bad = problems(soak.engine, soak.started)
        began = time.monotonic()
        soak.engine.close()
        closing = time.monotonic() - began
        if left := children():
            bad.append(f"{len(left)} processes outlive the engine")
    growth = after.memory / before.memory - 1
    bad += [f"memory grew by {growth:.1%}"] if growth > 0.05 else []
    bad += ["descriptors or processes are left"] if after[1:] > before[1:] else []
    print(
        f"{sum(soak.started.values())} runs of {options.visitors} visitors in {seconds:.0f} s, {soak.kills} workers "
        f"killed, {soak.refusals} refusals. Stopped in {median(soak.stops):.2f} s, {max(soak.stops):.2f} s at most. "
        f"Memory {before.memory:.0f} to {after.memory:.0f} MB ({growth:+.1%}), descriptors {before.descriptors} to "
        f"{after.descriptors}, processes {before.processes} to {after.processes}. Closed in {closing:.2f} s."
    )
    for problem in bad:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
