"""Stop, leave and SIGTERM in the middle of a step or an evaluation that would take minutes: nothing waits for it."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from iwae_core.training import loop
from iwae_core.training.events import Finished, Progress, Snapshot
from iwae_core.training.loop import Experiment, GivenUpError
from iwae_core.training.run import Run
from iwae_lab.engines import Engine, State, open_engine
from iwae_lab.engines.process import Worker
from iwae_lab.engines.protocol import Begin, Leave, Order, Pause, Resume, Stop, encode
from iwae_lab.engines.runner import run
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG
from iwae_lab.records.log import outcome
from tests.support.resuming import SPEC_20, folder_for, kinds, same, same_run
from tests.support.running import (
    HEAVY,
    LIMITS,
    LONG,
    MakeEngine,
    busy,
    exists,
    finish,
    linux,
    pid,
    processes,
    reach,
    wait_until,
)
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers


class Endless:
    """A computation that does not end before the test does."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.end.wait()


@pytest.fixture
def endless() -> Iterator[Endless]:
    endless = Endless()
    yield endless
    endless.end.set()


def endless_step(endless: Endless, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = Run.gradient

    def never(self: Run, x: torch.Tensor, step: int) -> tuple[float, float]:
        if step == at:
            for parameter in self.model.parameters():
                parameter.grad = torch.full_like(parameter, torch.nan)  # half of it is computed
            endless()
        return gradient(self, x, step)

    monkeypatch.setattr(Run, "gradient", never)


def endless_evaluation(endless: Endless, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = loop.snapshot

    def never(step: int, models: Any, x: Any, ks: Any, seed: int, each: Callable[..., Any]) -> Snapshot:
        if step == at:
            each(lambda model: endless(), models)
        return snapshot(step, models, x, ks, seed, each)

    monkeypatch.setattr(loop, "snapshot", never)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_for(tmp_path_factory.mktemp("whole") / "run", SPEC_20)
    deque(run(folder), maxlen=0)
    return folder


# The evaluations of SPEC_20 are after 0, 6, 12, 18 and 20 steps; it swaps after 5 and 9.
@pytest.mark.parametrize(
    ("what", "at"),
    [(endless_step, 0), (endless_step, 5), (endless_step, 7), (endless_step, 19)]
    + [(endless_evaluation, at) for at in (0, 6, 20)],
)
@pytest.mark.parametrize("order", [Stop(), Leave()])
def test_what_is_given_up_has_never_begun(
    what: Callable[[Endless, int, pytest.MonkeyPatch], None],
    at: int,
    order: Order,
    endless: Endless,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = folder_for(tmp_path / "run", SPEC_20)
    with monkeypatch.context() as patch:
        what(endless, at, patch)
        orders = deque([order])
        deque(run(folder, lambda wait: orders.popleft() if endless.begun.is_set() else None, endless.begun.is_set), 0)
    assert not orders
    assert kinds(folder, Finished) == [Finished(at, stopped=True, reason="stopped by hand")] * isinstance(order, Stop)
    assert len(kinds(folder, Progress)) == at
    if at or what is endless_step:
        assert checkpoint.load(folder / CHECKPOINT)["step"] == at
    else:
        assert not (folder / CHECKPOINT).exists(), "it begins at its beginning"
    deque(run(folder), maxlen=0)
    assert same_run(folder, whole), "to the bit, as if it had not been interrupted"


def test_an_experiment_that_gives_up_keeps_its_state(endless: Endless, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(SPEC_20, schedule="constant")  # the learning rate is that of the step in hand
    experiment = Experiment(spec, give_up=endless.begun.is_set)
    endless_step(endless, 3, monkeypatch)
    story = experiment.train()
    while experiment.step < 3:
        next(story)
    before = Experiment(spec)
    before.load_state_dict(experiment.state_dict())
    with pytest.raises(GivenUpError):
        next(story)
    assert same(experiment.state_dict(), before.state_dict())
    assert experiment.finite


@linux
def test_stop_frees_the_processor_in_the_middle_of_a_step(local: Engine) -> None:
    experiment = local.submit(HEAVY)
    busy(local, experiment)
    worker = pid(local, experiment)
    local.send(experiment, Stop())
    assert local.state(experiment) is State.STOPPING
    assert local.state(experiment).active, "its end is still to come"
    for command in Pause(), Resume(), Stop("again"):
        local.send(experiment, command)  # nothing more is to be done
    assert local.state(experiment) is not State.PAUSED
    finish(local, experiment)
    assert local.state(experiment) is State.STOPPED
    assert local.history(experiment).outcome == Finished(3, stopped=True, reason="stopped by hand")
    wait_until(lambda: not exists(worker))
    assert checkpoint.load(local.folder / experiment / CHECKPOINT)["step"] == 3
    wait_until(lambda: bool(processes(local)._spares))  # for the next


@linux
def test_stop_frees_the_processor_in_the_middle_of_an_evaluation(local: Engine) -> None:
    experiment = local.submit(replace(LONG, eval_images=10_000, eval_k=10_000))
    wait_until(lambda: local.history(experiment).length == 1)
    worker = pid(local, experiment)
    local.send(experiment, Stop())
    finish(local, experiment)
    assert local.history(experiment).outcome == Finished(0, stopped=True, reason="stopped by hand")
    wait_until(lambda: not exists(worker))


def test_a_worker_that_does_not_come_to_its_end_is_killed(local: Engine) -> None:
    experiment = local.submit(LONG)
    reach(local, experiment, 2)
    worker = pid(local, experiment)
    os.kill(worker, signal.SIGSTOP)
    local.send(experiment, Stop())
    assert local.state(experiment) is State.STOPPING
    finish(local, experiment)
    assert not exists(worker)
    outcome = local.history(experiment).outcome
    assert isinstance(outcome, Finished)
    assert outcome.reason == "stopped by hand"
    saved = local.folder / experiment / CHECKPOINT
    assert outcome.step == (checkpoint.load(saved)["step"] if saved.exists() else 0), "what it can go on from"
    local.recover(experiment)
    reach(local, experiment, outcome.step + 1)


@linux
def test_closing_saves_a_run_in_the_middle_of_a_step(tmp_path: Path) -> None:
    engine = open_engine("local", tmp_path, replace(LIMITS, farewell=1e9))  # it comes back before that
    experiment = engine.submit(HEAVY)
    busy(engine, experiment)
    workers = [worker.process.pid for worker in processes(engine)._all()]
    engine.close()
    assert not any(map(exists, workers))
    assert checkpoint.load(tmp_path / experiment / CHECKPOINT)["step"] == 3
    assert engine.state(experiment) is State.INTERRUPTED


def test_closing_does_not_wait_for_workers_that_have_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_lab.engines.local.Worker", Worker)  # which is still loading torch
    engine = open_engine("local", tmp_path, replace(LIMITS, farewell=1e9))
    experiments = [engine.submit(LONG) for _ in range(3)]
    engine.close()
    assert {engine.state(experiment) for experiment in experiments} == {State.INTERRUPTED}
    assert all(engine.history(experiment).length == 0 for experiment in experiments)


def test_a_run_that_is_stopping_while_the_server_closes_is_stopped(make_engine: MakeEngine) -> None:
    engine = make_engine()
    experiment = engine.submit(LONG)
    reach(engine, experiment, 2)
    engine.send(experiment, Stop())
    engine.close()
    assert engine.state(experiment) is State.STOPPED


@linux
def test_a_worker_told_to_end_saves_first(local: Engine) -> None:
    experiment = local.submit(HEAVY)
    busy(local, experiment)
    process = processes(local)._workers[experiment].process
    os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: local.restarts(experiment) == 1)
    assert process.returncode == 0
    assert checkpoint.load(local.folder / experiment / CHECKPOINT)["step"] == 3
    assert local.revived_at(experiment) == 3, "told on the page"
    local.send(experiment, Stop())
    finish(local, experiment)
    assert local.history(experiment).outcome == Finished(3, stopped=True, reason="stopped by hand")


@linux
def test_a_worker_whose_server_is_gone_saves_first(tmp_path: Path) -> None:
    folder = folder_for(tmp_path / "run", HEAVY)
    worker = Worker()
    worker.write(Begin(str(folder), 3000, [encode(Pause()), encode(Resume())]))
    wait_until(lambda: LOG in os.listdir(folder) and b"Swapped" in (folder / LOG).read_bytes())
    worker._input.close()
    worker.process.wait()
    assert checkpoint.load(folder / CHECKPOINT)["step"] == 3
    assert outcome(folder / LOG) is None, "it goes on later"
    worker.close()
