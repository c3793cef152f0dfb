"""Runs the members of a sweep on an engine, a few ahead of those that train, in as many sittings as it takes."""

import time
from collections.abc import Iterator, Sequence

from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import Engine, EngineFullError, State
from iwae_lab.engines.protocol import Stop
from iwae_lab.sweeping.members import Row, row

AHEAD = 4  # members that wait in the engine's queue
LOOK = 0.2  # seconds between two looks at them


class Sweep:
    """The members in the folder of an engine: one whose specification is there already is taken up where it stands."""

    def __init__(self, engine: Engine, specs: Sequence[ExperimentSpec]) -> None:
        self._engine = engine
        known = {engine.spec(experiment): experiment for experiment in reversed(engine.experiments(""))}
        self._found: dict[ExperimentSpec, State | None] = dict.fromkeys(specs)
        self._runs = {spec: known[spec] for spec in specs if spec in known}
        self._tried: set[ExperimentSpec] = set()  # in this sitting

    def __len__(self) -> int:
        return len(self._found)

    def run(self) -> Iterator[int]:
        """Train all that are not complete; yields now and then how many have come to their end."""
        while True:
            states = self._states()
            going = [state for state in states.values() if state and state.active]
            waiting = [spec for spec, state in states.items() if self._is_to_be_begun(spec, state)]
            for spec in waiting[: max(0, AHEAD - going.count(State.QUEUED))]:
                self._begin(spec)
            yield len(states) - len(going) - len(waiting)
            if not going and not waiting:
                return
            time.sleep(LOOK)

    def cancel(self, patience: float = 10.0) -> None:
        """Have all that train or wait saved and stopped; another sitting goes on with them."""
        for spec, state in self._states().items():
            if state and state.active:
                self._engine.send(self._runs[spec], Stop("the sweep was cancelled"))
        until = time.monotonic() + patience
        while time.monotonic() < until and any(state and state.active for state in self._states().values()):
            time.sleep(LOOK)

    def rows(self) -> list[Row]:
        """What each member has found so far."""
        states = self._states()
        return [
            row(spec, state or State.QUEUED, self._engine.history(self._runs[spec]))
            for spec, state in states.items()
            if spec in self._runs
        ]

    @property
    def experiments(self) -> list[str]:
        """Those that were ever begun."""
        return list(self._runs.values())

    def _states(self) -> dict[ExperimentSpec, State | None]:
        """What each member is doing, if it was ever begun; to look is to watch."""
        for spec, experiment in self._runs.items():
            if self._found[spec] is not State.COMPLETED:
                self._engine.touch(experiment)
                self._found[spec] = self._engine.state(experiment)
        return self._found

    def _is_to_be_begun(self, spec: ExperimentSpec, state: State | None) -> bool:
        return spec not in self._tried and state is not State.COMPLETED and not (state and state.active)

    def _begin(self, spec: ExperimentSpec) -> None:
        try:
            if spec in self._runs:
                self._engine.recover(self._runs[spec])
            else:
                self._runs[spec] = self._engine.submit(spec)
        except EngineFullError:
            return  # the next look tries again
        self._tried.add(spec)
