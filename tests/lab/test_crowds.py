"""Crowds, hostile ids, and old experiments that make room."""

import os
import random
import string
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import (
    Engine,
    EngineFullError,
    EngineLimits,
    State,
    UnknownExperimentError,
    open_engine,
)
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Slow, Step, Stop
from iwae_lab.records.folder import SPEC
from tests.support.running import (
    LIMITS,
    LONG,
    dismiss,
    exists,
    finish,
    linux,
    processes,
    reach,
    wait_until,
)
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers

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
