"""When things go wrong: dead and hung processes, a full disk, too little memory, a crowd, hostile ids."""

import errno
import os
import random
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from iwae_core.training.events import Failed, Finished, Progress
from iwae_core.training.memory import memory_mb
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.__main__ import main
from iwae_lab.engines import (
    Engine,
    EngineFullError,
    EngineLimits,
    NotOwnerError,
    State,
    UnknownExperimentError,
    open_engine,
)
from iwae_lab.engines.inline import Inline
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC, rewind
from iwae_lab.records.log import EventLog, LogError, LogReader
from tests.support.running import (
    LIMITS,
    LONG,
    MIDDLE,
    SHORT,
    MakeEngine,
    dismiss,
    events,
    finish,
    processes,
    reach,
    trained,
    wait_until,
)
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")


def pid(engine: Engine, experiment: str) -> int:
    return processes(engine)._workers[experiment].process.pid


def exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Dead and hung workers.


def test_a_run_whose_worker_is_killed_goes_on_by_itself(local: Engine, tmp_path: Path) -> None:
    spec = replace(MIDDLE, schedule="burda", swaps=(Swap(run=0, step=15, estimator="iwae", k=3),))
    experiment = local.submit(spec)
    for _ in range(20):
        local.send(experiment, Step())
    local.send(experiment, Checkpoint())
    wait_until(lambda: (local.folder / experiment / CHECKPOINT).exists())
    for _ in range(5):
        local.send(experiment, Step())
    reach(local, experiment, 25)
    local.send(experiment, Resume())
    os.kill(pid(local, experiment), signal.SIGKILL)
    wait_until(lambda: local.restarts(experiment) == 1)
    assert local.history(experiment).step >= 20, "it goes on from its checkpoint"
    finish(local, experiment)
    assert local.state(experiment) is State.COMPLETED
    assert events(local.folder / experiment) == events(trained(tmp_path / "whole", spec))


def test_a_run_whose_worker_keeps_dying_fails_and_can_be_resumed(local: Engine) -> None:
    experiment = local.submit(LONG)
    local.send(experiment, Pause())
    for deaths, kill in enumerate([signal.SIGKILL, signal.SIGSEGV, signal.SIGSEGV]):
        wait_until(
            lambda deaths=deaths: local.restarts(experiment) == deaths and experiment in processes(local)._workers
        )  # type: ignore[misc]
        assert local.state(experiment) is State.PAUSED, "it stays as it was"
        os.kill(pid(local, experiment), kill)
    wait_until(lambda: not local.state(experiment).active)
    message = "its process crashed (SIGSEGV), 3 times in a row; resume it from its last saved state"
    assert local.history(experiment).outcome == Failed(0, message)
    local.recover(experiment)
    reach(local, experiment, 2)


def test_a_run_whose_worker_hangs_goes_on_by_itself(local: Engine) -> None:
    experiment = local.submit(LONG)
    reach(local, experiment, 2)
    stopped = pid(local, experiment)
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: local.restarts(experiment) == 1)
    assert not exists(stopped)
    reach(local, experiment, 2)
    assert local.state(experiment) is State.RUNNING


# Dead and closing servers.

SERVER = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with it ignored
from iwae_lab.engines import EngineLimits
from iwae_lab.engines import open_engine
from iwae_core.training.spec import ExperimentSpec, RunSpec
engine = open_engine("local", Path(sys.argv[1]), EngineLimits(slots=1, tick=0.05))
LONG = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1_000_000, eval_images=2, eval_k=1)
experiment, queued = engine.submit(LONG, "me"), engine.submit(LONG, "me")
while engine.history(experiment).step < 2:
    time.sleep(0.01)
backend = engine.backend
backend._refill_at = 0
while not backend._spares:
    time.sleep(0.01)
print(experiment, queued, backend._workers[experiment].process.pid, backend._spares[0].process.pid, flush=True)
time.sleep(600)
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_that_dies_leaves_no_process_and_every_run_behind(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            experiment, queued, *pids = server.stdout.readline().split()
            workers = [int(pid) for pid in pids]
            assert len(workers) == 2
            assert all(exists(pid) for pid in workers)
            os.kill(server.pid, how)
            wait_until(lambda: not any(exists(pid) for pid in workers), seconds=20)
        finally:
            server.kill()
    engine = open_engine("inline", tmp_path)
    assert engine.experiments("me") == [queued, experiment]
    assert engine.state(experiment) is engine.state(queued) is State.INTERRUPTED
    steps = engine.history(experiment).training.steps
    assert len(steps) >= 2
    assert steps.tolist() == list(range(1, len(steps) + 1)), "the history is complete"
    assert (engine.folder / experiment / CHECKPOINT).exists() is (how is signal.SIGINT), (
        "who can say goodbye saves first"
    )
    with pytest.raises(NotOwnerError):
        engine.recover(experiment)
    for interrupted in experiment, queued:
        engine.recover(interrupted, "me")
    reach(engine, experiment, 4)
    engine.close()


def test_closing_saves_every_run_first(make_engine: MakeEngine) -> None:
    engine = make_engine()
    running, paused, waiting = (engine.submit(LONG) for _ in range(3))
    reach(engine, running, 3)
    engine.send(paused, Step())
    reach(engine, paused, 1)
    engine.close()
    again = make_engine()
    for experiment, least in (running, 3), (paused, 1), (waiting, 0):
        assert again.state(experiment) is State.INTERRUPTED
        step = again.history(experiment).step
        assert step >= least
        if least:
            assert checkpoint.load(again.folder / experiment / CHECKPOINT)["step"] == step
    step = again.history(running).step
    again.recover(running)
    assert again.history(running).step == step or isinstance(again.backend, Inline), "nothing is lost"
    reach(again, running, step + 1)
    steps = again.history(running).training.steps.tolist()
    assert steps == list(range(1, len(steps) + 1))


def test_an_interrupted_run_is_resumed_from_the_command_line(local: Engine, tmp_path: Path) -> None:
    experiment = local.submit(MIDDLE)
    folder = local.folder / experiment
    for _ in range(20):
        local.send(experiment, Step())
    reach(local, experiment, 20)
    with pytest.raises(LogError, match="is being trained by another process"):
        rewind(folder)
    local.send(experiment, SwapNow(1, "vae", 4))
    wait_until(lambda: len(local.history(experiment).swaps) == 1)
    local.close()
    assert local.state(experiment) is State.INTERRUPTED
    assert main(["train", "--resume", str(folder), "--json"]) == 0
    assert local.state(experiment) is State.COMPLETED, "whoever watched it sees how it went on"
    assert local.history(experiment).training.steps.tolist() == list(range(1, 101))
    whole = trained(tmp_path / "whole", replace(MIDDLE, swaps=(Swap(run=1, step=20, estimator="vae", k=4),)))
    assert events(folder)[1:] == events(whole)[1:], "only Started, with the specification, differs"
    ours, others = (checkpoint.load(path / CHECKPOINT)["runs"] for path in (folder, whole))
    torch.testing.assert_close(ours, others, rtol=0, atol=0)


# Numbers that are none.


def test_a_step_that_is_not_finite_is_not_made(make_engine: MakeEngine) -> None:
    engine = make_engine()
    runs = RunSpec("vae", 5), RunSpec("dreg", 5, "two_layer")
    spec = replace(LONG, runs=runs, batch_size=4, learning_rate=0.1)  # 0.1 is too much for two layers
    experiment = engine.submit(spec)
    finish(engine, experiment)
    outcome, history = engine.history(experiment).outcome, engine.history(experiment)
    assert isinstance(outcome, Failed)
    assert all(torch.tensor(values).isfinite().all() for values in history.training)
    assert outcome.step == history.step
    state = checkpoint.load(engine.folder / experiment / CHECKPOINT)
    assert state["step"] == outcome.step
    for of_run in state["runs"]:
        assert all(value.isfinite().all() for value in of_run["model"].values())
    engine.recover(experiment)
    finish(engine, experiment)
    assert engine.history(experiment).outcome == outcome, "it fails again in the same way"


@pytest.mark.parametrize("what", ["gradient", "bound"])
def test_runs_go_together_or_not_at_all(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = Run.gradient

    def broken(self: Run, x: torch.Tensor, step: int) -> tuple[float, float]:
        bounds = gradient(self, x, step)
        if step == 3 and self.spec.estimator == "iwae":
            if what == "bound":
                return bounds[0], float("-inf")
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.inf)
        return bounds

    monkeypatch.setattr(Run, "gradient", broken)
    failed = trained(tmp_path / "failed", SHORT)
    *_, last = LogReader(failed / LOG).new()
    value = "gradient became inf" if what == "gradient" else "L_2 became -inf"
    assert last.event == Failed(3, f"run 2 (IWAE, k = 2): its {value} in step 4; try a smaller learning rate")
    monkeypatch.setattr(Run, "gradient", gradient)
    three = trained(tmp_path / "three", replace(SHORT, steps=3))
    ours, others = (checkpoint.load(path / CHECKPOINT)["runs"] for path in (failed, three))
    torch.testing.assert_close(ours, others, rtol=0, atol=0)


# Too little space, too little memory.


def no_space(*_: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_too_full_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = EventLog.append

    def limited(self: EventLog, event: Any, seconds: float) -> Any:
        return no_space() if isinstance(event, Progress) and event.step == 3 else append(self, event, seconds)

    monkeypatch.setattr(EventLog, "append", limited)
    *_, last = LogReader(trained(tmp_path / "run", SHORT) / LOG).new()
    assert isinstance(last.event, Failed)
    assert last.event.message.startswith("disk full: the run could not be saved; free some space")
    monkeypatch.setattr(EventLog, "append", no_space)
    with pytest.raises(OSError, match="No space left"):
        trained(tmp_path / "mute", SHORT)


def test_a_disk_too_full_for_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    folder = trained(tmp_path / "run", SHORT)
    *_, last = LogReader(folder / LOG).new()
    assert isinstance(last.event, Failed)
    assert last.event.message.startswith("disk full")
    assert sorted(path.name for path in folder.iterdir()) == [LOG, SPEC]


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log") as log:
        log.append(Progress(1, (0.0,), (0.0,)), 0.0)
        size = (tmp_path / "log").stat().st_size

        class Short:
            """A file on a disk that has room for ten bytes."""

            def __init__(self, file: Any) -> None:
                self.file, self.room = file, 10

            def write(self, line: bytes) -> int:
                if not self.room:
                    no_space()
                written = self.file.write(line[: self.room])
                self.room = 0
                return int(written)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        whole, log._file = log._file, Short(log._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space"):
            log.append(Progress(2, (0.0,), (0.0,)), 0.0)
        assert (tmp_path / "log").stat().st_size == size
        log._file = whole
        log.append(Finished(1), 0.0)
    assert [record.number for record in LogReader(tmp_path / "log").new()] == [0, 1]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_nothing_else(tiny_disk: Path) -> None:
    engine = open_engine("local", tiny_disk, LIMITS)
    experiment = engine.submit(LONG)
    reach(engine, experiment, 2)
    subprocess.run(["dd", "if=/dev/zero", f"of={tiny_disk / 'ballast'}"], capture_output=True)
    engine.send(experiment, Checkpoint())
    finish(engine, experiment)
    outcome = engine.history(experiment).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("disk full")
    assert not list((tiny_disk / experiment).glob("*.partial"))
    with pytest.raises(OSError, match="No space"):
        engine.submit(LONG)
    assert len(list(tiny_disk.iterdir())) == 2, "the ballast and the first run"
    (tiny_disk / "ballast").unlink()
    engine.recover(experiment)
    reach(engine, experiment, 2)
    dismiss(engine)


def test_a_run_beyond_its_memory_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "iwae_lab.engines.engine.require_memory", lambda spec, allowed: None
    )  # as if the estimate were wrong
    engine = open_engine("local", tmp_path, replace(LIMITS, memory_mb=900))
    small = engine.submit(LONG)
    large = engine.submit(ExperimentSpec(runs=(RunSpec("vimco", 5000, "sbn_3"),), batch_size=100))
    finish(engine, large)
    outcome = engine.history(large).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("out of memory: this run needs more than it may have; choose a smaller k")
    reach(engine, small, engine.history(small).step + 1)
    assert engine.state(small) is State.RUNNING
    dismiss(engine)


MEMORY = """
import sys
from collections import deque
from iwae_core.training.spec import ExperimentSpec
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
prepare_process()
deque(train(ExperimentSpec.from_json(sys.argv[1])), maxlen=0)
# Not ru_maxrss: a process inherits that from the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024 / 1e6)
"""


@linux
@pytest.mark.parametrize(("k", "batch_size"), [(2, 2), (1000, 100)])
def test_the_estimate_of_memory_is_about_right(k: int, batch_size: int) -> None:
    runs = (RunSpec("wake_sleep", k, "sbn_3"),)
    spec = ExperimentSpec(runs, batch_size=batch_size, steps=1, eval_images=2, eval_k=1)
    command = [sys.executable, "-c", MEMORY, spec.to_json()]
    peak = float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert peak / 1.5 < memory_mb(spec) < peak * 1.5


# Crowds.


def test_a_crowd_is_served_one_after_the_other(tmp_path: Path) -> None:
    engine = open_engine("local", tmp_path, replace(LIMITS, queue=150))

    def submit(visitor: int) -> str | None:
        try:
            return engine.submit(LONG, f"visitor {visitor % 100}")
        except EngineFullError:
            return None

    with ThreadPoolExecutor(20) as crowd:
        accepted = [experiment for experiment in crowd.map(submit, range(200)) if experiment]
    assert len(accepted) == len(set(accepted)) == 152, "two train, 150 wait"
    assert sorted(
        experiment for visitor in range(100) for experiment in engine.experiments(f"visitor {visitor}")
    ) == sorted(accepted)
    states = [engine.state(experiment) for experiment in accepted]
    assert (states.count(State.RUNNING), states.count(State.QUEUED)) == (2, 150)
    places = [engine.position(experiment) for experiment in accepted]
    assert sorted(place for place in places if place) == list(range(1, 151))
    assert len(list(processes(engine)._all())) <= 3, "and no process for those who wait"
    dismiss(engine)
    assert {engine.state(experiment) for experiment in accepted} == {State.INTERRUPTED}


def test_a_crowd_gets_what_it_came_for(tmp_path: Path) -> None:
    engine = open_engine("inline", tmp_path, replace(LIMITS, per_visitor=2))
    spec = ExperimentSpec(runs=(RunSpec("vae", 1),), batch_size=1, steps=1, eval_images=2, eval_k=1)
    accepted = [engine.submit(spec, f"visitor {number % 10}") for number in range(20)]
    ended: list[str] = []
    while len(ended) < 20:
        running = [experiment for experiment in accepted if engine.state(experiment) is State.RUNNING]
        assert len(running) <= 2
        ended += [
            experiment for experiment in accepted if experiment not in ended and not engine.state(experiment).active
        ]
    assert {engine.state(experiment) for experiment in accepted} == {State.COMPLETED}
    assert set(ended[:10]) == set(accepted[:10]), "everybody's first run comes before anybody's second"


@linux
def test_stopping_is_idempotent_and_leaves_no_process(local: Engine) -> None:
    running, other, queued = (local.submit(LONG) for _ in range(3))
    reach(local, running, 1)
    pids = [worker.process.pid for worker in processes(local)._all()]
    for _ in range(2):
        for experiment in queued, running, other:
            local.send(experiment, Stop())
    finish(local, running, other, queued)
    assert {local.state(experiment) for experiment in (running, other, queued)} == {State.STOPPED}
    wait_until(lambda: not processes(local)._workers)
    for command in Stop(), Pause(), Resume(), Step(), Slow(), Checkpoint():
        local.send(running, command)
    assert local.state(running) is State.STOPPED
    pids += [worker.process.pid for worker in processes(local)._all()]
    local.close()
    assert not any(exists(pid) for pid in pids)
    local.close()


# Hostile ids, and old runs.


def test_ten_thousand_hostile_ids_reach_no_file(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / SPEC).write_text(LONG.to_json())
    engine = open_engine("inline", tmp_path / "runs")
    known = engine.submit(LONG)
    (engine.folder / ("0" * 32)).symlink_to(tmp_path / "outside")
    before = sorted(tmp_path.rglob("*"))
    chance = random.Random(0)
    fixed = ["../outside", str(tmp_path / "outside"), "%2e%2e%2foutside", "0" * 32, known + "/..", known + "\n", "\0"]
    alphabets = "0123456789abcdef", string.printable, "./\\%0\0\u202e", "\ud800\U0001f600é"
    for number in range(10_000):
        name = (
            fixed[number]
            if number < len(fixed)
            else "".join(
                chance.choices(
                    alphabets[number % 4], k=chance.choice([0, 1, 31, 32, 33, 60_000 if number % 500 == 0 else 5])
                )
            )
        )
        for call in engine.state, engine.touch:
            with pytest.raises(UnknownExperimentError, match="there is no run"):
                call(name)
    for calls in (engine.history, engine.spec, lambda name: engine.owns(name, ""), engine.recover):
        for name in fixed:
            with pytest.raises(UnknownExperimentError, match="there is no run"):
                calls(name)
    assert sorted(tmp_path.rglob("*")) == before
    engine.close()


def test_old_runs_make_room(tmp_path: Path) -> None:
    spec = ExperimentSpec(runs=(RunSpec("vae", 1),), batch_size=1, steps=1, eval_images=2, eval_k=1)
    first = open_engine("inline", tmp_path)
    oldest, old, looked_at, new = (first.submit(spec) for _ in range(4))
    finish(first, oldest, old, looked_at, new)
    interrupted = first.submit(spec)
    first.close()
    now = time.time()
    for experiment, age in (oldest, 9e4), (old, 8e4), (looked_at, 9.5e4), (interrupted, 7e4), (new, 60.0):
        for path in (*(tmp_path / experiment).iterdir(), tmp_path / experiment):
            os.utime(path, (now - age, now - age))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) / 1e6
    engine = open_engine("inline", tmp_path, EngineLimits(quota_mb=size * 0.7))
    engine.touch(looked_at)
    engine.recover(interrupted)
    engine.state(new)
    for experiment in oldest, old:
        with pytest.raises(UnknownExperimentError):
            engine.state(experiment)
        assert not (tmp_path / experiment).exists()
    assert set(engine.experiments("")) == {looked_at, interrupted, new}
    strict = open_engine("inline", tmp_path, EngineLimits(quota_mb=0.0))
    strict._supervisor.tend()
    assert set(strict.experiments("")) == {looked_at, interrupted, new}, "used in the last hour"
    engine.close()
