"""A cluster of real processes, when things go wrong: machines that are cut off, schedulers and servers that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from iwae_core.training.events import Failed, Progress
from iwae_lab.engines import Engine, State, open_engine
from iwae_lab.engines.cluster import roster
from iwae_lab.engines.cluster.backend import Cluster
from iwae_lab.engines.cluster.identity import identity
from iwae_lab.engines.cluster.site import FULL
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Step, Stop
from iwae_lab.engines.settings import SCHEDULER
from iwae_lab.engines.supervisor import HINDERED
from iwae_lab.records.folder import CHECKPOINT, LOG
from iwae_lab.records.log import read_log
from tests.support.cluster import Machines
from tests.support.running import (
    LARGE,
    LIMITS,
    LONG,
    MIDDLE,
    another,
    dismiss,
    events,
    filled,
    finish,
    linux,
    reach,
    ready,
    small_disk,
    trained,
    wait_until,
)
from tests.support.running import used_workers as used_workers
from tools.browser import ROOT

pytestmark = linux
SPEC_30 = replace(MIDDLE, steps=30, eval_k=10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return events(trained(tmp_path_factory.mktemp("whole") / "run", SPEC_30))


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    machines = Machines(2, IWAE_MEMORY_MB="900")
    yield machines
    machines.close()


@pytest.fixture
def engine(tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv(SCHEDULER, machines.address)
    engine = ready(open_engine("cluster", tmp_path / "runs", replace(LIMITS, hang=4.0)))
    yield engine
    dismiss(engine)


def backend(engine: Engine) -> Cluster:
    assert isinstance(engine.backend, Cluster)
    return engine.backend


def saved_after(engine: Engine, steps: int) -> str:
    """A run that has been saved after so many steps, and is paused two steps later."""
    experiment = engine.submit(SPEC_30)
    step_and_save(engine, experiment, steps)
    for _ in range(2):
        engine.send(experiment, Step())
    reach(engine, experiment, steps + 2)
    return experiment


def step_and_save(engine: Engine, experiment: str, steps: int) -> None:
    engine.send(experiment, Step())
    reach(engine, experiment, 1)
    for _ in range(steps - 1):
        engine.send(experiment, Step())
    engine.send(experiment, Checkpoint())
    reach(engine, experiment, steps)
    wait_until(lambda: (engine.folder / experiment / CHECKPOINT).exists())


def test_a_run_on_a_machine_that_is_cut_off_goes_on_elsewhere(
    engine: Engine, machines: Machines, whole: list[str]
) -> None:
    experiment = saved_after(engine, 10)
    worker = backend(engine)._remotes[experiment].worker
    machine = next(machine for machine in machines.workers if machine.address == worker)
    engine.send(experiment, Resume())
    machine.cut_off()
    began = time.monotonic()
    wait_until(lambda: engine.restarts(experiment) == 1)
    assert engine.revived_at(experiment) == 10, "told on the page"
    engine.send(experiment, Step())
    reach(engine, experiment, 11)
    assert time.monotonic() - began < 30
    assert backend(engine)._remotes[experiment].worker != worker
    machine.come_back()
    wait_until(lambda: worker not in list(backend(engine)._roster.over.values()))  # it has forgotten its twin
    engine.send(experiment, Resume())
    finish(engine, experiment)
    assert engine.state(experiment) is State.COMPLETED
    assert events(engine.folder / experiment) == whole, "nothing is told twice, and to the bit what it would have been"
    loaded = Path(f"/proc/{machines.scheduler.pid}/maps").read_text()
    assert "libtorch" not in loaded, "a scheduler that loads the program answers nobody meanwhile"


SERVER = """
import sys, time
from pathlib import Path
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import EngineLimits, open_engine
engine = open_engine("cluster", Path(sys.argv[1]), EngineLimits(slots=2, tick=0.05))
experiment = engine.submit(ExperimentSpec.from_json(sys.argv[2]))
while engine.history(experiment).step < 2:
    engine.touch(experiment)
    time.sleep(0.01)
print(experiment, flush=True)
time.sleep(600)
"""


def test_a_server_that_is_killed_finds_its_runs_again(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER, machines.address)
    spec = replace(MIDDLE, steps=3000, eval_k=2)
    command = [sys.executable, "-c", SERVER, str(tmp_path / "runs"), spec.to_json()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        experiment = server.stdout.readline().strip()
        second = open_engine("cluster", tmp_path / "runs", LIMITS)
        assert second.state(experiment) is State.ELSEWHERE, "a second server on the folder leaves it to the first"
        assert second.history(experiment).step >= 2, "and shows it"
        second.close()
        os.kill(server.pid, signal.SIGKILL)
    told = len(list(read_log(tmp_path / "runs" / experiment / LOG)))
    began = time.monotonic()
    engine = open_engine("cluster", tmp_path / "runs", LIMITS)
    assert engine.state(experiment) is State.RUNNING
    assert engine.history(experiment).length == told
    took = time.monotonic() - began
    assert took < 1
    reach(engine, experiment, engine.history(experiment).step + 1)
    assert engine.restarts(experiment) == 0, "it was not begun again"
    engine.send(experiment, Stop())
    finish(engine, experiment)
    steps = [
        record.event.step
        for record in read_log(tmp_path / "runs" / experiment / LOG)
        if isinstance(record.event, Progress)
    ]
    assert steps == list(range(1, len(steps) + 1)), "the history is complete"
    assert [record.number for record in read_log(tmp_path / "runs" / experiment / LOG)] == list(
        range(engine.history(experiment).length)
    )
    dismiss(engine)


def test_a_paused_run_is_found_paused(engine: Engine) -> None:
    first = another(engine, engine.folder)
    experiment = saved_after(first, 2)
    first.close()
    again = another(engine, engine.folder)
    assert again.state(experiment) is State.PAUSED
    again.send(experiment, Step())
    reach(again, experiment, 5)
    assert again.restarts(experiment) == 0
    dismiss(again)


def test_too_little_memory_and_too_little_space(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER, machines.address)
    monkeypatch.setattr("iwae_lab.engines.engine.require_memory", lambda *_: None)  # this server allows more
    with ExitStack() as mounted:
        page = mounted.enter_context(small_disk(tmp_path / "runs", 10))
        engine = ready(open_engine("cluster", page, LIMITS))
        disks = {at.address: mounted.enter_context(small_disk(at.folder, 120)) for at in machines.workers}
        small, large = engine.submit(LONG), engine.submit(LARGE)
        places = {run: remote.worker for run, remote in backend(engine)._remotes.items()}
        reach(engine, small, 1)
        finish(engine, large)
        assert told(engine, large).startswith("out of memory: this run needs more than it may have; choose a smaller k")
        reach(engine, small, engine.history(small).step + 1)

        with filled(disks[places[large]]):
            wait_until(lambda: backend(engine)._roster.seats[places[large]].refused == FULL)
            damaged, waiting = engine.submit(LONG), engine.submit(LONG)
            (page / damaged / CHECKPOINT).write_text("nothing of the kind")
            almost = mounted.enter_context(ExitStack())
            almost.enter_context(filled(disks[places[small]], 100))  # there is enough for what goes on there
            until_told(engine, waiting, roster.OTHERS.format(FULL))
            assert (engine.state(small), engine.state(waiting)) == (State.RUNNING, State.QUEUED)
            engine.send(small, Stop())
            finish(engine, small)
            with filled(page):
                almost.close()
                until_told(engine, waiting, HINDERED.format("No space left on device"))
                assert engine.state(waiting) is State.QUEUED
            finish(engine, damaged)
            assert "truncated or altered" in told(engine, damaged), "and the next is not kept from going on"
            reach(engine, waiting, 1)
            assert (engine.trouble(), engine.restarts(waiting)) == ("", 0)
            with filled(page):
                finish(engine, waiting)
            assert told(engine, waiting).startswith("disk full: what it has made could not be kept")
            assert not list(page.rglob("*.partial"))
        dismiss(engine)


def until_told(engine: Engine, experiment: str, trouble: str) -> None:
    """Watch a run that waits until its page says why."""

    def told() -> bool:
        engine.touch(experiment)
        return engine.trouble() == trouble

    wait_until(told)


def told(engine: Engine, experiment: str) -> str:
    outcome = engine.history(experiment).outcome
    assert isinstance(outcome, Failed)
    return outcome.message


def test_workers_with_another_program_are_refused(
    tmp_path: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER, machines.address)
    other = identity()._replace(code="another", torch="1.0")
    monkeypatch.setattr(roster, "identity", lambda: other)
    engine = open_engine("cluster", tmp_path, LIMITS)
    experiment = engine.submit(LONG)
    wait_until(lambda: engine.trouble() not in ("", roster.SILENT, roster.EMPTY))
    have = f"program {identity().code}, not another, torch {identity().torch}, not 1.0"
    assert engine.trouble() == roster.OTHERS.format(have)
    assert engine.state(experiment) is State.QUEUED
    dismiss(engine)


def test_a_scheduler_that_is_down_is_told_and_waited_for(
    tmp_path: Path, whole: list[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    machines = Machines(0)
    request.addfinalizer(machines.close)
    machines.scheduler.kill()
    machines.scheduler.wait()
    monkeypatch.setenv(SCHEDULER, machines.address)
    began = time.monotonic()
    engine = open_engine("cluster", tmp_path / "runs", LIMITS)
    experiment = engine.submit(SPEC_30)
    assert engine.trouble() == roster.SILENT
    assert engine.state(experiment) is State.QUEUED
    engine.send(experiment, Pause())
    assert time.monotonic() - began < 5
    machines.begin()
    wait_until(lambda: engine.trouble() == roster.EMPTY)
    assert engine.history(experiment).length == 0, "nothing else trains it"
    machines.workers.append(machines.join())
    step_and_save(engine, experiment, 5)
    machines.scheduler.kill()
    machines.scheduler.wait()
    began = time.monotonic()
    wait_until(lambda: engine.trouble() == roster.SILENT)
    assert time.monotonic() - began < 5
    assert engine.state(experiment) is State.PAUSED
    engine.send(experiment, Resume())
    machines.begin()
    machines.workers.append(machines.join())
    finish(engine, experiment)
    assert events(engine.folder / experiment) == whole
    dismiss(engine)
