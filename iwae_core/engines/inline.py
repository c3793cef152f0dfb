"""The engine of tests and notebooks: every look at a run makes its next event, in the caller's own process."""

from collections import deque
from collections.abc import Generator
from pathlib import Path

from iwae_core.engines.engine import ENGINES, Engine
from iwae_core.engines.runner import run
from iwae_core.events import Record
from iwae_core.history import History


@ENGINES.register("inline", label="in this process")
class InlineEngine(Engine):
    """Deterministic and single-threaded: nothing happens between two calls, a command is obeyed at the next."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._runs: dict[str, tuple[Generator[Record | None, None, None], deque[str]]] = {}

    def history(self, run_id: str) -> History:
        """Make one event unless paused, then tell everything so far."""
        if run_id in self._runs:
            next(self._runs[run_id][0], None)
        return super().history(run_id)

    def close(self) -> None:
        """Forget every run."""
        self._runs.clear()

    def _admit(self) -> None:
        """Any number of runs may wait for somebody to look at them."""

    def _start(self, run_id: str) -> None:
        commands: deque[str] = deque()
        events = run(self.folder / run_id, lambda wait: commands.popleft() if commands else None)
        self._runs[run_id] = events, commands

    def _end(self, run_id: str) -> None:
        if run_id in self._runs:
            self._runs.pop(run_id)[0].close()

    def _alive(self, run_id: str) -> bool:
        return run_id in self._runs

    def _send(self, run_id: str, command: str) -> None:
        self._runs[run_id][1].append(command)
