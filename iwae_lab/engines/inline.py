"""The engine of tests and notebooks: every look at a run makes its next event, in the caller's own process."""

from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path

from iwae_core.training.events import Failed, Finished, Record
from iwae_lab.engines.engine import ENGINES, Engine
from iwae_lab.engines.runner import run
from iwae_lab.engines.settings import EngineLimits
from iwae_lab.engines.supervisor import Death


@ENGINES.register("inline", label="in this process")
class InlineEngine(Engine):
    """Deterministic: nothing happens between two calls. A stop is obeyed at once, other commands at the next look."""

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        super().__init__(folder, limits)
        self._runs: dict[str, tuple[Generator[Record | None, None, None], deque[str]]] = {}

    def close(self) -> None:
        """Save and end every run."""
        for run_id in list(self._runs):
            self._send(run_id, "leave")
        for job in self._jobs:
            self._jobs.remove(job)

    def _look(self, run_id: str) -> None:
        self.tend()
        if run_id in self._runs:
            record = next(self._runs[run_id][0], None)
            if record and isinstance(record.event, Finished | Failed):
                self._end(run_id)

    def _start(self, run_id: str, commands: Sequence[str]) -> None:
        waiting = deque(commands)
        self._runs[run_id] = run(self.folder / run_id, lambda wait: waiting.popleft() if waiting else None), waiting

    def _send(self, run_id: str, command: str) -> None:
        if run_id in self._runs:
            events, waiting = self._runs[run_id]
            waiting.append(command)
            if command.startswith(("leave", "stop")):
                deque(events, maxlen=0)
                self._end(run_id)

    def _alive(self, run_id: str) -> bool:
        return run_id in self._runs

    def _end(self, run_id: str) -> Death:
        if run_id in self._runs:
            self._runs.pop(run_id)[0].close()
        return Death("it ended without a word")
