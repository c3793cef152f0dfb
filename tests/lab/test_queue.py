"""Whose turn it is: the queue, owners, who watches, and what an engine refuses."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iwae_core.training.events import Finished, Swapped
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import (
    EngineFullError,
    EngineLimits,
    NotOwnerError,
    State,
)
from iwae_lab.engines.jobs import Job, Jobs, Phase
from iwae_lab.engines.protocol import Checkpoint, Pause, Resume, Step, Stop, SwapNow
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT
from tests.support.running import (
    LIMITS,
    LONG,
    MIDDLE,
    MakeEngine,
    another,
    dismiss,
    events,
    finish,
    reach,
    trained,
    wait_until,
)
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers


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
    assert len(list(engine.folder.glob("*/spec.json"))) == len(list(engine.folder.glob("[0-9a-f]*"))) == 4, (
        "a refusal leaves nothing behind"
    )


def test_a_new_name_at_each_visit_gets_no_more() -> None:
    jobs = Jobs(EngineLimits(slots=1, queue=9, per_address=3))
    crowd = [jobs.add(str(number), f"name {number}", 0.0, "203.0.113.7") for number in range(3)]
    crowd[0].phase = Phase.STARTED
    with pytest.raises(EngineFullError, match="3 unfinished experiments were started from your network, and 3 are"):
        jobs.admit("another name", "203.0.113.7")
    for somewhere in "203.0.113.8", "":
        assert jobs.admit("another name", somewhere) is None
    newcomer = jobs.add("newcomer", "stranger", 0.0, "203.0.113.8")
    assert jobs.order()[0] is newcomer, "the crowd has a slot already"
    crowd[0].unwatched = True
    with pytest.raises(EngineFullError):
        jobs.admit("another name", "203.0.113.7")  # it still has its slot
    crowd[1].unwatched = True
    assert jobs.admit("another name", "203.0.113.7") is None


PHASES = st.sampled_from([Phase.WAITING, Phase.WAITING, *Phase])
HOMES = {"a": "one house", "b": "one house", "c": "another", "d": "another", "e": "a third"}
SLOT_HOLDERS = st.lists(st.tuples(st.sampled_from("abcde"), PHASES, st.sampled_from([False, False, True])), max_size=12)


@given(SLOT_HOLDERS)
@example([("a", Phase.STARTED, False), ("a", Phase.WAITING, False), ("b", Phase.WAITING, False)])
@example([("a", Phase.WAITING, False)] * 3 + [("b", Phase.WAITING, False)] * 2)
def test_the_order_of_the_queue(holders: list[tuple[str, Phase, bool]]) -> None:
    jobs = Jobs(LIMITS)
    for number, (owner, phase, unwatched) in enumerate(holders):
        job = jobs.add(str(number), owner, 0.0, HOMES[owner])
        job.phase, job.unwatched = phase, unwatched
    order = jobs.order()  # is that of slots that become free one after the other
    one_by_one: list[Job] = []
    while waiting := [job for job in jobs if job.phase is Phase.WAITING and not job.unwatched]:
        active = Counter(name for job in jobs if job.has_slot for name in (job.owner, job.address))
        one_by_one.append(min(waiting, key=lambda job: (active[job.address], active[job.owner], job.number)))
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
