"""A queue full of runs that nobody watches: they let a newcomer pass, and end if there are too many of them."""

import time
from dataclasses import replace

import pytest

from iwae_core.training.events import Finished
from iwae_lab.engines import EngineFullError, EngineLimits, State
from iwae_lab.engines.jobs import Jobs, Phase
from tests.support.running import LONG, MakeEngine, reach, wait_until
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers


def test_a_newcomer_passes_those_whom_nobody_watches(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, queue=3, away=0.5, grace=1e6, abandon=1e6)
    crowd = [engine.submit(LONG, f"visitor {number}") for number in range(4)]
    with pytest.raises(EngineFullError, match="1 experiments are training here and 3 are waiting"):
        engine.submit(LONG, "newcomer")

    def gone() -> bool:
        return all(engine.unwatched(experiment) for experiment in crowd[1:] if engine.state(experiment))

    wait_until(gone)
    newcomer = engine.submit(LONG, "newcomer")
    assert engine.position(newcomer) in (1, None), "first in line"
    reach(engine, newcomer, 1)
    assert {engine.state(experiment) for experiment in crowd[1:]} == {State.QUEUED}
    for experiment in reversed(crowd[1:]):
        engine.touch(experiment)
    assert [engine.position(experiment) for experiment in crowd[1:]] == [1, 2, 3], "who comes back has kept his place"


def test_there_is_room_for_so_many_in_all(make_engine: MakeEngine) -> None:
    engine = make_engine(slots=1, queue=100, unfinished=4, per_visitor=2, away=0.0, grace=1e6, abandon=1e6)
    crowd = [engine.submit(LONG, f"visitor {number}") for number in range(4)]
    wait_until(lambda: all(engine.unwatched(experiment) for experiment in crowd[1:] if engine.state(experiment)))
    engine.touch(crowd[1])
    last = engine.submit(LONG, "newcomer")
    assert engine.state(crowd[2]) is State.STOPPED, "the one that was not watched for longest gives way"
    reason = "stopped because nobody watched it and there were too many others"
    assert engine.history(crowd[2]).outcome == Finished(0, stopped=True, reason=reason)
    assert engine.state(last).active
    assert sum(engine.state(experiment).active for experiment in [*crowd, last]) == 4
    engine.submit(LONG, "newcomer")
    with pytest.raises(EngineFullError, match="you have 2 unfinished experiments here, and 2 are allowed"):
        engine.submit(LONG, "newcomer")


def test_those_who_are_watched_do_not_give_way() -> None:
    jobs = Jobs(replace(EngineLimits(), slots=1, unfinished=3))
    now = time.monotonic()
    running, left, parked = (jobs.add(str(age), "", now - age) for age in (9, 3, 6))
    running.phase, parked.phase = Phase.STARTED, Phase.PARKED
    with pytest.raises(EngineFullError, match="3 unfinished experiments are here, and no more are allowed"):
        jobs.admit("newcomer")
    running.unwatched = True
    with pytest.raises(EngineFullError):
        jobs.admit("newcomer")  # it is about to save its state
    left.unwatched = True
    assert jobs.admit("newcomer") is left
    parked.unwatched = True
    assert jobs.admit("newcomer") is parked
    jobs.remove(parked)
    assert jobs.admit("newcomer") is None
