"""When things go wrong: dead and hung processes, servers that close, numbers that are none."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iwae_core.training.events import Failed
from iwae_core.training.run import Run
from iwae_core.training.spec import RunSpec, Swap
from iwae_lab.__main__ import main
from iwae_lab.engines import (
    Engine,
    NotOwnerError,
    State,
    open_engine,
)
from iwae_lab.engines.cluster.backend import Cluster
from iwae_lab.engines.inline import Inline
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Step, SwapNow
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, rewind
from iwae_lab.records.log import LogError, LogReader
from tests.support.running import (
    LIMITS,
    LONG,
    MIDDLE,
    SHORT,
    MakeEngine,
    events,
    exists,
    finish,
    linux,
    pid,
    processes,
    reach,
    trained,
    wait_until,
)
from tests.support.running import cluster as cluster
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers

ROOT = Path(__file__).parents[2]


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
    engine.touch(experiment)  # or a slow start would be the end of it: nobody watches
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
    assert checkpoint.load(engine.folder / experiment / CHECKPOINT)["step"] == len(steps), "its worker saves it first"
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
    goes_on = again.backend.outlives
    for experiment, least, state in (running, 3, State.RUNNING), (paused, 1, State.PAUSED), (waiting, 0, State.QUEUED):
        assert again.state(experiment) is (state if goes_on and least else State.INTERRUPTED)
        step = again.history(experiment).step
        assert step >= least
        if least and not goes_on:
            assert checkpoint.load(again.folder / experiment / CHECKPOINT)["step"] == step
    step = again.history(running).step
    again.recover(running)
    assert again.history(running).step == step or isinstance(again.backend, Inline | Cluster), "nothing is lost"
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


# Clocks that are wrong.


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
def test_a_change_of_the_clock_changes_nothing(hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine("inline", tmp_path, LIMITS)
    ended, running, waiting = engine.submit(SHORT), engine.submit(LONG), engine.submit(LONG)
    finish(engine, ended)
    third = engine.submit(LONG)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
    reach(engine, running, 4)
    assert engine.history(running).seconds < 3000
    assert (engine.history(running).steps_per_second() or 1) > 0
    states = [engine.state(experiment) for experiment in (ended, running, waiting, third)]
    assert states == [State.COMPLETED, State.RUNNING, State.RUNNING, State.QUEUED]
    engine._supervisor._prune()
    assert len(engine.experiments("")) == 4
    engine.close()


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
