"""What experiments have reported, each log read and folded once for all who watch."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from iwae_core.training.events import Failed, Finished, Record
from iwae_lab.history.history import History
from iwae_lab.records.log import LogReader, outcome


@dataclass
class _Followed:
    reader: LogReader
    history: History = field(default_factory=History)
    lock: threading.Lock = field(default_factory=threading.Lock)
    looked: float = field(default_factory=time.monotonic)


class Histories:
    """Follows logs. Reading a long one keeps nobody waiting but those who look at the same one."""

    def __init__(self) -> None:
        self._followed: dict[str, _Followed] = {}
        self._untold: dict[str, Finished | Failed] = {}

    def read(self, log: Path) -> History:
        """Everything in a log so far."""
        followed = self._followed.setdefault(str(log), _Followed(LogReader(log)))
        with followed.lock:
            followed.looked = time.monotonic()
            history = followed.history.extend(followed.reader.new())
            untold = self._untold.get(str(log))
            if untold and not history.outcome:
                history.extend([Record(history.length, history.seconds, untold)])
            return history

    def outcome(self, log: Path) -> Finished | Failed | None:
        """How an experiment ended, from the end of its log alone."""
        return self._untold.get(str(log)) or outcome(log)

    def keep(self, log: Path, event: Finished | Failed) -> None:
        """Remember an end that could not be written, as long as this process lives."""
        self._untold[str(log)] = event

    def forget(self, log: Path) -> None:
        """Begin anew with a log at the next look."""
        self._followed.pop(str(log), None)
        self._untold.pop(str(log), None)

    def tidy(self, age: float) -> None:
        """Let go of logs that nobody has looked at for so many seconds; the next look reads them again."""
        for name, followed in list(self._followed.items()):
            if time.monotonic() - followed.looked > age:
                self._followed.pop(name, None)
