"""Small experiments, engines to run them on, and ways to wait for them: what the tests of engines share."""

import atexit
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from iwae_core.training.events import Closeup, Event, Progress, Record, encode
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.engines import (
    BACKENDS,
    Engine,
    EngineLimits,
    open_engine,
)
from iwae_lab.engines.cluster.backend import Cluster
from iwae_lab.engines.local import WorkerProcesses
from iwae_lab.engines.process import Worker
from iwae_lab.engines.runner import run
from iwae_lab.engines.settings import SCHEDULER
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import read_log

SHORT = ExperimentSpec(runs=(RunSpec("vae", 2), RunSpec("iwae", 2)), batch_size=4, steps=5, eval_images=2, eval_k=2)
MIDDLE = replace(SHORT, steps=100, eval_k=500)  # enough steps to act before the end, few evaluations
LONG = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1_000_000, eval_images=2, eval_k=1)
# After three quick steps one that takes many seconds: 5,000 samples of 100 images.
HEAVY = ExperimentSpec(
    runs=(RunSpec("iwae", 1),),
    batch_size=100,
    steps=10,
    eval_images=2,
    eval_k=1,
    swaps=(Swap(run=0, step=3, estimator="iwae", k=5000),),
)
# Takes more than 900 MB at its first step.
LARGE = ExperimentSpec(runs=(RunSpec("vimco", 5000, "sbn_3"),), batch_size=100, eval_images=2, eval_k=1)
LIMITS = EngineLimits(slots=2, tick=0.05, away=1e6)
linux = pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
MakeEngine = Callable[..., Engine]
# Workers that tests hand to one another: each takes seconds to get ready.
IDLE: list[Worker] = []


@pytest.fixture(autouse=True)
def used_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines take over the workers of earlier tests."""
    monkeypatch.setattr("iwae_lab.engines.local.Worker", lambda: IDLE.pop() if IDLE else Worker())


def another(engine: Engine, folder: Path, limits: EngineLimits = LIMITS) -> Engine:
    """A further engine of the same kind."""
    return ready(Engine(folder, type(engine.backend)(limits), limits))


def ready(engine: Engine) -> Engine:
    """An engine that can start experiments at once: to find a cluster takes a moment."""
    if isinstance(engine.backend, Cluster):
        roster = engine.backend._roster
        wait_until(lambda: sum(seat.answers for seat in list(roster.seats.values())) >= 2)
    return engine


def processes(engine: Engine) -> WorkerProcesses:
    """The backend of an engine of worker processes."""
    assert isinstance(engine.backend, WorkerProcesses)
    return engine.backend


def dismiss(engine: Engine) -> None:
    """Close an engine, but keep its workers for the next test."""
    backend = engine.backend
    if isinstance(backend, Cluster):  # where they would go on
        if backend._link._thread.is_alive():
            with engine._lock:
                for job in engine._jobs:
                    engine._supervisor.forget(job)
            wait_until(lambda: not backend._roster.over)
        else:
            from tests.support.cluster import vacate

            vacate(backend._link._address)
    if isinstance(backend, WorkerProcesses):
        close, backend.close = backend.close, lambda: None  # type: ignore[method-assign]
        engine.close()  # those that save their state in time become spare
        IDLE.extend(worker for worker in backend._spares if worker.alive)
        backend._spares = []
        close()
    else:
        engine.close()


@atexit.register
def _close() -> None:
    for worker in IDLE:
        worker.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines may be on a cluster."""
    from tests.support.cluster import shared

    monkeypatch.setenv(SCHEDULER, shared().address)


@pytest.fixture(params=list(BACKENDS))
def make_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeEngine]:
    """Engines on one folder, with limits by name; on a cluster only in files that import `cluster`: each costs seconds.

    The rules of queues, damaged files and memory are above the backend, and the same on all of them.
    """
    engines: list[Engine] = []
    if request.param == "cluster":
        if not hasattr(request.module, "cluster"):
            pytest.skip("its rules are the engine's, not the backend's")
        request.getfixturevalue("cluster")

    def make(**settings: float) -> Engine:
        limits = replace(LIMITS, **settings)  # type: ignore[arg-type]
        engines.append(ready(open_engine(request.param, tmp_path, limits)))
        return engines[-1]

    yield make
    for engine in engines:
        dismiss(engine)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Engine]:
    """An engine of worker processes."""
    engine = open_engine("local", tmp_path / "runs", replace(LIMITS, hang=6.0))
    yield engine
    dismiss(engine)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A folder that is a file system of its own."""
    folder.mkdir(exist_ok=True)
    options = f"size={megabytes}m"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path, *megabytes: int) -> Iterator[None]:
    """Nothing more can be written there for a while, or so much less than before."""
    ballast = disk / "ballast"
    counts = [f"count={count}" for count in megabytes]
    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1M", *counts], capture_output=True)
    yield
    ballast.unlink()


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def finish(engine: Engine, *experiments: str) -> None:
    """Watch runs until they have ended."""

    def ended() -> bool:
        for experiment in experiments:
            engine.touch(experiment)
        return not any(engine.state(experiment).active for experiment in experiments)

    wait_until(ended)


def reach(engine: Engine, experiment: str, step: int) -> None:
    """Watch a run until it has made so many steps."""

    def reached() -> bool:
        engine.touch(experiment)
        return engine.history(experiment).step >= step

    wait_until(reached)


def trained(folder: Path, spec: ExperimentSpec) -> Path:
    """A folder with an uninterrupted run."""
    folder.mkdir()
    (folder / SPEC).write_text(spec.to_json())
    deque(run(folder), maxlen=0)
    return folder


def events(folder: Path, without: tuple[type[Event], ...] = ()) -> list[str]:
    """Every event of a log, to the bit and in order, without its time; closeups, which single steps add, left out."""
    told = [record.event for record in read_log(folder / LOG)]
    kept = [event for event in told if not isinstance(event, (Closeup, *without))]
    untimed = (replace(event, cost=()) if isinstance(event, Progress) else event for event in kept)
    return [encode(Record(number, 0.0, event)) for number, event in enumerate(untimed)]


def pid(engine: Engine, experiment: str) -> int:
    return processes(engine)._workers[experiment].process.pid


def exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def busy(engine: Engine, experiment: str) -> None:
    """Wait until the worker of a `HEAVY` run is in the middle of its long step."""
    wait_until(lambda: bool(engine.history(experiment).swaps))
    before = processor_time(worker := pid(engine, experiment))
    wait_until(lambda: processor_time(worker) > before + 0.5)


def processor_time(pid: int) -> float:
    """Seconds that a process has computed."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
