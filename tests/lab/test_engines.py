"""The contract of every engine: runs, commands, the queue, owners and watching. Faults have a file of their own."""

import math
import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iwae_core.training.events import Failed, Finished, Swapped
from iwae_core.training.fields import SpecError, limits
from iwae_core.training.loop import load_models
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import (
    BACKENDS,
    Engine,
    EngineFullError,
    EngineLimits,
    NotOwnerError,
    State,
    UnknownExperimentError,
    from_environment,
    open_engine,
)
from iwae_lab.engines.jobs import Job, Jobs, Phase
from iwae_lab.engines.process import Worker
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Step, Stop, SwapNow
from iwae_lab.engines.settings import variable
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT
from tests.support.running import (
    LIMITS,
    LONG,
    MIDDLE,
    SHORT,
    MakeEngine,
    another,
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


def test_every_engine_tells_the_same_story(tmp_path: Path) -> None:
    curves = []
    for name in BACKENDS:
        engine = open_engine(name, tmp_path / name)
        experiment = engine.submit(SHORT)
        wait_until(lambda engine=engine, experiment=experiment: not engine.state(experiment).active)
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
    experiment = engine.submit(SHORT)
    wait_until(lambda: not engine.state(experiment).active)
    outcome = engine.history(experiment).outcome
    assert isinstance(outcome, Failed)
    assert "put the four MNIST files there" in outcome.message
    engine.close()


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


def test_more_runs_than_slots_wait_for_their_turn(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1)
    first, second, third, fourth = (engine.submit(LONG) for _ in range(4))
    assert [engine.state(experiment) for experiment in (second, third)] == [State.QUEUED] * 2
    assert [engine.position(experiment) for experiment in (first, second, third, fourth)] == [None, 1, 2, 3]
    assert engine.history(second).length == 0
    engine.send(second, Stop())
    assert engine.state(second) is State.STOPPED
    assert engine.history(second).outcome == Finished(0, stopped=True, reason="stopped by hand")
    engine.send(third, Pause())
    assert engine.state(third) is State.PAUSED
    assert [engine.position(experiment) for experiment in (first, second, third, fourth)] == [None, None, None, 1]
    engine.send(third, Resume())
    assert engine.position(third) == 2, "behind all others"
    engine.send(third, Stop())
    engine.send(first, Stop())
    reach(engine, fourth, 1)
    assert engine.state(fourth) is State.RUNNING
    assert engine.position(fourth) is None
    engine.recover(second)
    assert engine.state(second) is State.QUEUED
    engine.send(fourth, Stop())
    reach(engine, second, 1)


def test_a_paused_run_gives_its_slot_up_and_goes_on_as_if_nothing_had_been(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(slots=1, grace=0.5, abandon=1e6)
    first = engine.submit(MIDDLE)
    engine.send(first, Step())
    reach(engine, first, 1)
    second = engine.submit(LONG)
    reach(engine, second, 1)
    engine.touch(first)
    assert engine.state(first) is State.PAUSED
    assert engine.history(first).step == 1
    engine.send(first, Step())
    assert engine.state(first) is State.QUEUED, "a step needs a slot too"
    engine.send(first, SwapNow(0, "iwae", 2))
    engine.send(first, SwapNow(0, "vae", 2))
    engine.send(second, Pause())
    reach(engine, first, 2)
    assert engine.state(first) is State.PAUSED
    engine.send(second, Stop())
    engine.send(first, Resume())
    finish(engine, first)
    assert [swap.estimator for swap in engine.history(first).swaps] == ["iwae", "vae"]
    assert events(engine.folder / first, without=(Swapped,)) == events(trained(tmp_path / "whole", MIDDLE))


def test_a_run_that_nobody_watches_is_paused(make_engine: MakeEngine) -> None:
    engine = make_engine(grace=1.0, abandon=1e6)
    experiment = engine.submit(LONG)
    reach(engine, experiment, 2)
    assert engine.state(experiment) is State.RUNNING
    wait_until(lambda: engine.state(experiment) is State.PAUSED)
    assert engine.unwatched(experiment)
    engine.touch(experiment)
    assert engine.state(experiment) is State.RUNNING
    assert not engine.unwatched(experiment)
    reach(engine, experiment, engine.history(experiment).step + 1)
    engine.send(experiment, Pause())
    wait_until(lambda: bool(engine.state(experiment)) and engine.unwatched(experiment))
    engine.touch(experiment)
    assert not engine.unwatched(experiment)
    assert engine.state(experiment) is State.PAUSED, "somebody had paused it"
    engine.send(experiment, Resume())
    wait_until(lambda: engine.state(experiment) is State.PAUSED)
    engine.send(experiment, Checkpoint())  # a command is a sign of life too
    reach(engine, experiment, engine.history(experiment).step + 1)


def test_a_run_that_nobody_comes_back_to_is_stopped(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, grace=0.5, abandon=0.5)
    first, queued = engine.submit(LONG), engine.submit(LONG)
    reach(engine, first, 1)
    wait_until(lambda: not engine.state(first).active and not engine.state(queued).active)
    reason = "stopped because nobody watched it for 0 minutes"
    assert engine.history(queued).outcome == Finished(0, stopped=True, reason=reason)
    step = engine.history(first).step
    assert engine.history(first).outcome == Finished(step, stopped=True, reason=reason)
    assert checkpoint.load(engine.folder / first / CHECKPOINT)["step"] == step
    engine.recover(first)
    reach(engine, first, step + 1)


def test_slots_go_to_those_who_watch(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, grace=0.5, abandon=1e6)
    left, right = engine.submit(LONG), engine.submit(LONG)
    reach(engine, right, 1)  # nobody watches the other one, so it has to go
    assert engine.state(left) is State.PAUSED
    assert engine.unwatched(left)
    third = engine.submit(LONG)
    while not engine.unwatched(third):
        reach(engine, right, 1)
    assert engine.position(third) is None, "an unwatched run gets no slot"
    engine.touch(third)
    assert engine.position(third) == 1
    assert engine.state(third) is State.QUEUED


def test_owners(make_engine: MakeEngine) -> None:
    engine = make_engine()
    mine, other, public = engine.submit(LONG, "my secret"), engine.submit(LONG, "another"), engine.submit(LONG)
    newest = engine.submit(LONG, "my secret")
    for current in (engine, another(engine, engine.folder)):
        assert current.experiments("my secret") == [newest, mine]
        assert current.experiments("another") == [other]
        assert current.experiments("") == [public]
        assert current.experiments("stranger") == []
        for owner, owned in ("my secret", True), ("another", False), ("", False):
            assert current.owns(mine, owner) is owned
        assert current.owns(public, "") is current.owns(public, "anybody") is True
        if current is not engine:
            dismiss(current)
    for files in (engine.folder / mine).iterdir():
        assert b"my secret" not in files.read_bytes()
    for forbidden in (
        lambda: engine.send(mine, Stop(), "another"),
        lambda: engine.send(mine, Stop()),
        lambda: engine.send(mine, SwapNow(0, "vae", 2), "another"),
        lambda: engine.recover(mine, "another"),
    ):
        with pytest.raises(NotOwnerError, match="belongs to another visitor; start one of your own"):
            forbidden()
    assert engine.state(mine).active
    engine.send(mine, Stop(), "my secret")
    engine.send(public, Stop(), "anybody")
    finish(engine, mine, public)
    assert engine.state(other).active


def test_what_an_engine_refuses(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, queue=2, per_visitor=2, memory_mb=1000)
    for _ in range(2):
        engine.submit(LONG, "me")
    with pytest.raises(EngineFullError, match="you have 2 unfinished experiments here, and 2 are allowed; stop one"):
        engine.submit(LONG, "me")
    last = engine.submit(LONG, "you")
    with pytest.raises(EngineFullError, match="1 experiments are training here and 2 are waiting, and no more than 2"):
        engine.submit(LONG)
    engine.send(last, Stop(), "you")
    with pytest.raises(EngineFullError, match="you have 2"):
        engine.submit(LONG, "me")
    engine.submit(LONG)
    with pytest.raises(EngineFullError):
        engine.recover(last, "you")
    large = ExperimentSpec(runs=(RunSpec("vimco", 5000, "sbn_3"),), batch_size=100)
    with pytest.raises(SpecError, match=r"about 1,8\d\d MB of memory, and 1,000 MB are allowed; .* to at most \d\d$"):
        engine.submit(large)
    assert len(list(engine.folder.iterdir())) == 4, "a refusal leaves nothing behind"


PHASES = st.sampled_from([Phase.WAITING, Phase.WAITING, *Phase])
SLOT_HOLDERS = st.lists(st.tuples(st.sampled_from("abc"), PHASES, st.sampled_from([False, False, True])), max_size=12)


@given(SLOT_HOLDERS)
@example([("a", Phase.STARTED, False), ("a", Phase.WAITING, False), ("b", Phase.WAITING, False)])
@example([("a", Phase.WAITING, False)] * 3 + [("b", Phase.WAITING, False)] * 2)
def test_the_order_of_the_queue(holders: list[tuple[str, Phase, bool]]) -> None:
    jobs = Jobs(LIMITS)
    for number, (owner, phase, unwatched) in enumerate(holders):
        job = jobs.add(str(number), owner, 0.0)
        job.phase, job.unwatched = phase, unwatched
    order = jobs.order()  # is that of slots that become free one after the other
    one_by_one: list[Job] = []
    while waiting := [job for job in jobs if job.phase is Phase.WAITING and not job.unwatched]:
        active = {owner: sum(job.owner == owner and job.has_slot for job in jobs) for owner in "abc"}
        one_by_one.append(min(waiting, key=lambda job: (active[job.owner], job.number)))
        one_by_one[-1].phase = Phase.STARTED
    assert order == one_by_one


def test_a_paused_run_keeps_its_slot_for_a_while() -> None:
    jobs = Jobs(EngineLimits(slots=2, grace=10.0))
    held, left = jobs.add("held", "a", 0.0), jobs.add("left", "b", 0.0)
    for job in (held, left):
        job.phase = Phase.STARTED
    held.hold(now=5.0)
    assert jobs.to_park(100.0) == [], "nobody waits"
    jobs.add("waiting", "c", 6.0)
    assert jobs.to_start() == []
    assert jobs.to_park(14.9) == []
    assert jobs.to_park(15.0) == [held]
    left.unwatched, left.held_since = True, 14.0
    assert jobs.to_park(14.9) == [left], "at once, if nobody watches"
    assert jobs.to_park(15.0) == [held], "one waits, so one goes: the one that was held first"
    held.phase = Phase.LEAVING
    assert jobs.to_park(15.0) == []
    assert jobs.to_start() == [], "it has its slot until it is gone"


def test_settings_from_the_environment() -> None:
    assert from_environment({}) == EngineLimits()
    variables = {"IWAE_SLOTS": "3", "IWAE_QUEUE": "5", "IWAE_GRACE": "7.5", "IWAE_MEMORY_MB": "900", "IWAE_HANG": "1"}
    assert from_environment(variables) == EngineLimits(slots=3, queue=5, grace=7.5, memory_mb=900)
    for value in "x", "0", "-1", "1.5", "nan", "inf", "1001", "0x10":
        with pytest.raises(SpecError, match=r"(IWAE_SLOTS|slots) \(.*\) must be a whole number from 1 to 1,000; got"):
            from_environment({"IWAE_SLOTS": value})
    settings = ("slots", "queue", "per_visitor", "grace", "abandon", "quota_mb", "memory_mb")
    assert tuple(limits(EngineLimits)) == settings


def test_every_variable_that_is_read_is_documented_with_its_default() -> None:
    root = Path(__file__).parents[2]
    files = [root / "app.py", *root.glob("iwae_core/**/*.py"), *root.glob("ui/**/*.py")]
    source = "".join(path.read_text() for path in files)
    names = set(re.findall(r"IWAE_[A-Z_]+", source)) | {variable(name) for name in limits(EngineLimits)}
    documented = dict(re.findall(r"^\| `(IWAE_[A-Z_]+)` \| (.*?) \|", (root / "README.md").read_text(), re.M))
    assert names == set(documented)
    for name in limits(EngineLimits):
        if name != "slots":  # the number of processors
            assert float(documented[variable(name)]) == getattr(EngineLimits(), name)
