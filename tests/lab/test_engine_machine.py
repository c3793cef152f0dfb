"""Commands in any order, deaths at any moment: no run is lost, none is iterated twice, and all end as they should.

The engine, its queue, the runner, logs and checkpoints are the real ones; the training is a toy that takes no time.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule

from iwae_core.training.events import Closeup, Event, Finished, Progress, Started
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import Engine, EngineFullError, EngineLimits, State, runner
from iwae_lab.engines.backend import Death
from iwae_lab.engines.inline import Inline
from iwae_lab.engines.jobs import Phase
from iwae_lab.engines.protocol import Checkpoint, Command, Pause, Resume, Slow, Step, Stop
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import EventLog, read_log

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
STEPS = 5
SPEC = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=STEPS, eval_images=2, eval_k=1)
LIMITS = EngineLimits(
    slots=2, queue=3, unfinished=5, per_visitor=3, grace=1e5, abandon=1e5, away=1e4, quota_mb=1e9, tick=1e6
)
OWNERS = "alice", "bob"
NOTHING = np.zeros((1, 2, 2), np.float32)


class Toy:
    """What a runner asks of an experiment, without a model."""

    finite = begun = True
    runs: tuple[Any, ...] = ()

    def __init__(self, spec: ExperimentSpec, **_: object) -> None:
        self.spec, self.step, self._told = spec, 0, False

    @property
    def between_steps(self) -> bool:
        return self._told and self.step < STEPS

    def train(self) -> Iterator[Event]:
        if not self._told:
            self._told = True
            yield Started(self.spec.to_json(), NOTHING[0])
        while self.step < STEPS:
            self.step += 1
            yield Progress(self.step, (0.0,), (0.0,))
        yield Finished(self.step, reason="all")

    def look(self) -> Any:
        return self.step

    def compare(self, before: Any) -> Closeup:
        assert self.step == before + 1
        return Closeup(self.step, (1,), *[NOTHING] * 6)

    def state_dict(self) -> dict[str, Any]:
        common = {"spec": self.spec.to_json(), "swaps": [], "runs": []}
        return common | {"step": self.step, "evaluated": int(self._told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self._told = state["step"], bool(state["evaluated"])


class Mortal(Inline):
    """Its processes can die. Nothing happens when somebody looks, only as time passes."""

    by_itself = True

    def __init__(self, limits: EngineLimits) -> None:
        super().__init__(limits)
        self.dead: set[str] = set()

    def kill(self, experiment: str) -> None:
        if experiment in self._started:
            self._let_go(experiment)
            self.dead.add(experiment)

    def ended(self, experiment_id: str, at_once: bool = False) -> Death | None:
        death = super().ended(experiment_id, at_once)
        self.dead.discard(experiment_id)
        return death


class Commands(RuleBasedStateMachine):
    runs = Bundle("runs")

    @initialize(target=runs, owners=st.lists(st.sampled_from(OWNERS), min_size=1, max_size=4))
    def open(self, owners: list[str]) -> MultipleResults[str]:
        """Often with more than there are slots, or most of what can happen in a queue never would."""
        self.folder = Path(tempfile.mkdtemp())
        self.owner: dict[str, str] = {}
        self.engine = self.opened()
        return multiple(*dict.fromkeys(map(self.submit_one, owners)))

    def opened(self) -> Engine:
        return Engine(self.folder, Mortal(LIMITS), LIMITS)

    @property
    def backend(self) -> Mortal:
        assert isinstance(self.engine.backend, Mortal)
        return self.engine.backend

    @rule(target=runs, owner=st.sampled_from(OWNERS))
    def submit(self, owner: str) -> str:
        return self.submit_one(owner)

    def submit_one(self, owner: str) -> str:
        active = [run for run in self.owner if self.engine._jobs.get(run)]
        own = [run for run in active if self.owner[run] == owner]
        waiting = len(self.engine._jobs.order())
        try:
            run = self.engine.submit(SPEC, owner)
        except EngineFullError:
            assert len(own) >= LIMITS.per_visitor or waiting >= LIMITS.queue or len(active) >= LIMITS.unfinished
            return next(iter(self.owner))
        self.owner[run] = owner
        return run

    @rule(run=runs, command=st.sampled_from([Pause(), Resume(), Step(), Slow(), Checkpoint()]))
    def send(self, run: str, command: Command) -> None:
        before = self.engine.state(run)
        self.engine.send(run, command, self.owner[run])
        state = self.engine.state(run)
        if not before.active:
            assert state is before
        elif isinstance(command, Pause):
            assert state in (State.PAUSED, State.COMPLETED)

    @rule(run=runs, dead=st.booleans())
    def stop(self, run: str, dead: bool) -> None:
        if dead:
            self.backend.kill(run)
        before, alive = self.engine.state(run), run in self.backend._started
        self.engine.send(run, Stop(), self.owner[run])
        state = self.engine.state(run)
        if not before.active:
            assert state is before
            return
        if state is State.STOPPING:  # its process has died or left, and nobody has looked since
            assert not alive
            self.engine._supervisor.tend()
            state = self.engine.state(run)
        assert state in (State.STOPPED, State.COMPLETED)

    @rule(run=runs)
    def recover(self, run: str) -> None:
        before = self.engine.state(run)
        try:
            self.engine.recover(run, self.owner[run])
        except EngineFullError:
            assert self.engine.state(run) is before
        else:
            assert self.engine.state(run).active or self.engine.state(run) is State.COMPLETED

    @rule(run=runs)
    def watch(self, run: str) -> None:
        self.engine.touch(run)
        assert not self.engine.unwatched(run)

    @rule(run=runs, seconds=st.sampled_from([2e4, 1.5e5, 3e5]))
    def nobody_watches(self, run: str, seconds: float) -> None:
        if job := self.engine._jobs.get(run):
            job.touched -= seconds

    @rule(run=runs)
    def is_left_and_found_again(self, run: str) -> None:
        self.nobody_watches(run, 1.5e5)
        self.time_passes(1)
        self.watch(run)
        self.time_passes(1)

    @rule(run=runs)
    def die(self, run: str) -> None:
        self.backend.kill(run)

    @rule(looks=st.integers(1, 4))
    def time_passes(self, looks: int) -> None:
        for _ in range(looks):
            going = [job.experiment_id for job in self.engine._jobs if job.phase is Phase.STARTED and not job.held]
            going = [run for run in going if run in self.backend._started]
            before = {run: self.engine.history(run).length for run in going}
            self.engine._supervisor.tend()
            for run, length in before.items():
                job = self.engine._jobs.get(run)
                assert self.engine.history(run).length > length or (job and (job.slow or job.unwatched))

    @rule()
    def the_server_is_killed(self) -> None:
        for run in list(self.backend._started):
            self.backend.kill(run)
        self.engine._folders.presence.close()  # its lock goes with it
        atexit.unregister(self.engine.close)  # nor does it say goodbye
        self.engine = self.opened()

    @rule()
    def the_server_closes(self) -> None:
        self.engine.close()
        self.engine = self.opened()
        assert not any(self.engine.state(run).active for run in self.owner)

    @invariant()
    def limits_hold(self) -> None:
        jobs = list(self.engine._jobs)
        assert sum(job.has_slot for job in jobs) <= LIMITS.slots
        assert len(jobs) <= LIMITS.unfinished
        assert {job.experiment_id for job in jobs if job.has_slot} >= set(self.backend._started)
        for owner in OWNERS:
            assert sum(self.owner[job.experiment_id] == owner for job in jobs) <= LIMITS.per_visitor
            assert set(self.engine.experiments(owner)) == {run for run in self.owner if self.owner[run] == owner}

    @invariant()
    def every_history_is_whole(self) -> None:
        for run in self.owner:
            steps = self.engine.history(run).training.steps.tolist() if self.engine.history(run).spec else []
            assert steps == list(range(1, len(steps) + 1))
            assert (self.engine.state(run) is State.COMPLETED) <= (len(steps) == STEPS)

    def teardown(self) -> None:
        """Whatever happened, all of them can be brought to their end, and end as if nothing had happened."""
        if not hasattr(self, "owner"):
            return
        while rest := [run for run in self.owner if self.engine.state(run) is not State.COMPLETED]:
            for run in rest[LIMITS.slots :]:  # first, or there might be too many of one owner
                self.engine.send(run, Stop(), self.owner[run])
            self.engine._supervisor.tend()
            for run in rest[: LIMITS.slots]:
                self.engine.recover(run, self.owner[run])
                self.engine.send(run, Resume(), self.owner[run])
            self.engine._supervisor.tend()
        for run in self.owner:
            told = [record.event for record in read_log(self.folder / run / LOG)]
            events = [event for event in told if not isinstance(event, Closeup)]
            assert isinstance(events[0], Started)
            assert events[1:] == [
                *(Progress(step, (0.0,), (0.0,)) for step in range(1, STEPS + 1)),
                Finished(STEPS, reason="all"),
            ]
        self.engine.close()
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Experiment", Toy)
    monkeypatch.setattr(runner, "SLOW", 0.0)
    monkeypatch.setattr(EventLog, "sync", lambda self: None)


class TestCommands(Commands.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, derandomize=True)
