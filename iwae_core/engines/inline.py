"""The engine of tests and notebooks: every look at a run makes its next event, in the caller's own process."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from iwae_core.engines.engine import ENGINES, Engine, State
from iwae_core.engines.runner import Command, run
from iwae_core.events import Record
from iwae_core.history import History
from iwae_core.spec import ExperimentSpec


@ENGINES.register("inline", label="in this process")
class InlineEngine(Engine):
    """Deterministic and single-threaded: nothing happens between two calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._runs: dict[str, tuple[Iterator[Record], deque[Command]]] = {}
        self._paused: set[str] = set()

    def history(self, run_id: str) -> History:
        """Make one event unless paused, then tell everything so far."""
        if run_id in self._runs and run_id not in self._paused:
            next(self._runs[run_id][0], None)
        return super().history(run_id)

    def close(self) -> None:
        """Forget every run."""
        self._runs.clear()

    def _admit(self) -> None:
        """Any number of runs may wait for somebody to look at them."""

    def _start(self, run_id: str, spec: ExperimentSpec) -> None:
        commands: deque[Command] = deque()
        events = run(spec, self.folder / run_id, lambda wait: commands.popleft() if commands else None)
        self._runs[run_id] = events, commands

    def _live_state(self, run_id: str) -> State | None:
        if run_id not in self._runs:
            return None
        return State.PAUSED if run_id in self._paused else State.RUNNING

    def _send(self, run_id: str, command: Command) -> None:
        if command == "pause":
            self._paused.add(run_id)
        else:
            self._paused.discard(run_id)
        if command == "stop":
            events, commands = self._runs[run_id]
            commands.append(command)
            next(events, None)
