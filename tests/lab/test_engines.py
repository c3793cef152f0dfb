"""The contract of every engine: runs, commands, the queue, owners and watching. Faults have a file of their own."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from iwae_core.training.events import Failed, Finished, Swapped
from iwae_core.training.fields import SpecError
from iwae_core.training.loop import load_models
from iwae_lab.engines import (
    BACKENDS,
    Engine,
    State,
    UnknownExperimentError,
    open_engine,
)
from iwae_lab.engines.cluster.backend import Cluster
from iwae_lab.engines.process import Worker
from iwae_lab.engines.protocol import Pause, Resume, Step, Stop, SwapNow
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT
from tests.support.running import (
    LONG,
    MIDDLE,
    SHORT,
    MakeEngine,
    another,
    dismiss,
    events,
    finish,
    processes,
    trained,
    wait_until,
)
from tests.support.running import cluster as cluster
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()


def test_a_run_from_start_to_end(engine: Engine) -> None:
    experiment = engine.submit(SHORT)
    wait_until(lambda: not engine.state(experiment).active)
    history = engine.history(experiment)
    assert engine.state(experiment) is State.COMPLETED
    assert history.spec == engine.spec(experiment) == SHORT
    assert history.training.steps.tolist() == [1, 2, 3, 4, 5]
    assert history.outcome == Finished(5, reason="all 5 steps are made")
    spec, models = load_models(checkpoint.load(engine.folder / experiment / CHECKPOINT))
    assert spec == SHORT
    assert len(models) == 2


@pytest.mark.usefixtures("cluster")
def test_every_engine_tells_the_same_story(tmp_path: Path) -> None:
    curves = []
    for name in BACKENDS:
        engine = open_engine(name, tmp_path / name)
        experiment = engine.submit(SHORT)
        finish(engine, experiment)
        training = engine.history(experiment).training
        curves.append([values.tolist() for values in (training.steps, training.elbo, training.iwae)])
        dismiss(engine)
    assert all(curve == curves[0] for curve in curves)


def test_pause_resume_and_stop(engine: Engine) -> None:
    experiment = engine.submit(LONG)
    wait_until(lambda: engine.history(experiment).step >= 3)
    engine.send(experiment, Pause())
    assert engine.state(experiment) is State.PAUSED
    time.sleep(0.3)
    held = engine.history(experiment).step
    time.sleep(1)
    assert engine.history(experiment).step == held
    seconds = engine.history(experiment).seconds
    engine.send(experiment, Resume())
    assert engine.state(experiment) is State.RUNNING
    wait_until(lambda: engine.history(experiment).step > held)
    assert engine.history(experiment).seconds < seconds + 0.9, "a pause must not count as training time"
    engine.send(experiment, Stop())
    wait_until(lambda: not engine.state(experiment).active)
    assert engine.state(experiment) is State.STOPPED
    step = engine.history(experiment).step
    assert engine.history(experiment).outcome == Finished(step, stopped=True, reason="stopped by hand")
    assert load_models(checkpoint.load(engine.folder / experiment / CHECKPOINT))[0] == LONG
    engine.send(experiment, Stop())  # twice is once


def test_stop_works_during_a_pause(engine: Engine) -> None:
    experiment = engine.submit(LONG)
    wait_until(lambda: engine.history(experiment).step >= 1)
    engine.send(experiment, Pause())
    engine.send(experiment, Stop())
    wait_until(lambda: engine.state(experiment) is State.STOPPED)


def test_single_steps(engine: Engine) -> None:
    experiment = engine.submit(LONG)
    for steps in 1, 2, 3:
        engine.send(experiment, Step())  # the first while it runs
        assert engine.state(experiment) is State.PAUSED
        wait_until(lambda steps=steps: engine.history(experiment).step == steps)  # type: ignore[misc]
        time.sleep(0.3)
        assert [engine.history(experiment).step for _ in range(5)] == [steps] * 5
    engine.send(experiment, Stop())
    wait_until(lambda: engine.state(experiment) is State.STOPPED)


def test_a_swap_in_a_pause(engine: Engine) -> None:
    experiment = engine.submit(LONG)
    wait_until(lambda: engine.history(experiment).step >= 1)
    engine.send(experiment, Pause())
    for arguments, message in REFUSED_SWAPS:
        with pytest.raises(SpecError, match=message):
            engine.send(experiment, SwapNow(*arguments))
    engine.send(experiment, SwapNow(0, "vae", 3))
    wait_until(lambda: len(engine.history(experiment).swaps) == 1)
    assert engine.state(experiment) is State.PAUSED
    step = engine.history(experiment).step
    assert engine.history(experiment).swaps == [Swapped(step, 0, "vae", 3)]
    engine.send(experiment, Resume())
    wait_until(lambda: engine.history(experiment).step > step)
    # Its k differs now: L_1 is the ELBO at one sample, and above it at three.
    training = engine.history(experiment).training
    elbo, iwae = training.elbo[:, 0], training.iwae[:, 0]
    assert (elbo[:step] == iwae[:step]).all()
    assert (elbo[step:] < iwae[step:]).all()
    engine.send(experiment, Stop())
    wait_until(lambda: engine.state(experiment) is State.STOPPED)
    engine.send(experiment, SwapNow(0, "iwae", 3))  # a run that has ended is left alone
    assert len(engine.history(experiment).swaps) == 1


REFUSED_SWAPS = [
    ((1, "vae", 3), "there is no run 1 to swap"),
    ((0, "vea", 3), "unknown estimator 'vea'"),
    ((0, "iwae", 0), "must be a whole number from 1 to 5,000; got 0"),
]


def test_a_stopped_run_recovers_and_ends_as_if_nothing_had_been(engine: Engine, tmp_path: Path) -> None:
    experiment = engine.submit(MIDDLE)
    for _ in range(3):
        engine.send(experiment, Step())
    wait_until(lambda: engine.history(experiment).step == 3)
    engine.recover(experiment)  # active: left alone
    assert engine.state(experiment) is State.PAUSED
    engine.send(experiment, Stop())
    wait_until(lambda: not engine.state(experiment).active)
    assert engine.state(experiment) is State.STOPPED
    engine.recover(experiment)
    assert engine.state(experiment) is State.RUNNING
    assert engine.history(experiment).step >= 3
    wait_until(lambda: not engine.state(experiment).active)
    assert engine.state(experiment) is State.COMPLETED
    engine.recover(experiment)  # made all its steps: left alone
    assert engine.state(experiment) is State.COMPLETED
    assert events(engine.folder / experiment) == events(trained(tmp_path / "whole", MIDDLE))


@pytest.mark.parametrize(
    "experiment", ["", "0" * 32, "../../etc/passwd", "/etc/passwd", "A" * 32, "0" * 31 + "\n", "%2e%2e"]
)
def test_unknown_ids_are_refused_before_any_file_is_touched(engine: Engine, experiment: str) -> None:
    for call in (engine.history, engine.state, engine.spec, lambda name: engine.send(name, Stop())):
        with pytest.raises(UnknownExperimentError, match="there is no run"):
            call(experiment)


def test_bad_data_fail_the_run_with_a_message(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("iwae_lab.engines.local.Worker", Worker)  # a new one, which has not read any data
    engine = another(engine, tmp_path / "runs")
    # The workers of a cluster have their own folders of data: these have none.
    elsewhere = isinstance(engine.backend, Cluster)
    experiment = engine.submit(replace(SHORT, dataset="omniglot") if elsewhere else SHORT)
    finish(engine, experiment)
    outcome = engine.history(experiment).outcome
    assert isinstance(outcome, Failed)
    assert ("IWAE_OMNIGLOT_DIR" if elsewhere else "put the four MNIST files there") in outcome.message
    dismiss(engine)


def test_runs_outlive_the_engine_that_made_them(local: Engine) -> None:
    experiment = local.submit(SHORT)
    wait_until(lambda: not local.state(experiment).active)
    again = another(local, local.folder)
    assert again.state(experiment) is State.COMPLETED
    assert again.history(experiment).step == 5
    dismiss(again)


def test_a_spare_is_ready_again_after_a_respite(local: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_lab.engines.local.RESPITE", 0.1)
    (spare,) = processes(local)._spares
    experiment = local.submit(LONG)
    assert processes(local)._workers[experiment] is spare
    wait_until(lambda: bool(processes(local)._spares))
    assert spare not in processes(local)._spares


def test_a_worker_trains_one_run_after_the_other(
    local: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iwae_lab.engines.local.RESPITE", math.inf)  # or another is made ready if this one is slow
    (worker,) = processes(local)._spares
    for number in range(3):
        experiment = local.submit(SHORT)
        assert processes(local)._workers[experiment] is worker
        finish(local, experiment)
        assert local.state(experiment) is State.COMPLETED
        local.send(experiment, Stop())  # too late
        wait_until(lambda: bool(processes(local)._spares))
        assert events(local.folder / experiment) == events(trained(tmp_path / f"alone {number}", SHORT))


def test_a_dead_spare_is_replaced(local: Engine) -> None:
    processes(local)._spares[0].process.kill()
    processes(local)._spares[0].process.wait()
    experiment = local.submit(SHORT)
    wait_until(lambda: local.state(experiment) is State.COMPLETED)
