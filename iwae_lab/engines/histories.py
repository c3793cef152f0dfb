"""What experiments have reported, each log read and folded once for all who watch."""

import logging
import re
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from iwae_core.training.events import Failed, Finished, Record
from iwae_lab.history.history import History
from iwae_lab.records.files import FOREIGN
from iwae_lab.records.log import LogError, LogReader, outcome

LOGGER = logging.getLogger(__name__)
FOLDERS = re.compile(r"(?<![\w.])/(?=\S)(?:[^\s/:;,'\")]+/)*")  # an absolute path up to its last part


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
        self._damaged: set[str] = set()

    def read(self, log: Path) -> History:
        """Everything in a log so far; one that is damaged ends there, with a `Failed` that says so."""
        followed = self._followed.setdefault(str(log), _Followed(LogReader(log)))
        with followed.lock:
            followed.looked = time.monotonic()
            history = followed.history
            try:
                history.extend(map(_shown, followed.reader.new()))
            except (LogError, *FOREIGN) as error:
                self._give_up(log, history.step, error)
            untold = self._untold.get(str(log))
            if untold and not history.outcome:
                history.extend([Record(history.length, history.seconds, untold)])
            return history

    def outcome(self, log: Path) -> Finished | Failed | None:
        """How an experiment ended, from the end of its log alone."""
        try:
            end = self._untold.get(str(log)) or outcome(log)
            return _public(end) if isinstance(end, Failed) else end
        except LogError as error:
            return self._give_up(log, 0, error)

    def damaged(self, log: Path) -> bool:
        """Whether a log could not be read to its end."""
        return str(log) in self._damaged

    def _give_up(self, log: Path, step: int, error: Exception) -> Finished | Failed:
        """Tell once that a log is damaged, to whoever watches it and to whoever runs the server."""
        text = str(error) if isinstance(error, LogError) else f"{log.name} holds what no training reports"
        if not self.damaged(log):
            LOGGER.warning("run %s: %s", log.parent.name, text)
            self._damaged.add(str(log))
        return self._untold.setdefault(str(log), Failed(step, text))

    def keep(self, log: Path, event: Finished | Failed) -> None:
        """Remember an end that could not be written, as long as this process lives."""
        self._untold[str(log)] = event

    def forget(self, log: Path) -> None:
        """Begin anew with a log at the next look."""
        self._followed.pop(str(log), None)
        self._untold.pop(str(log), None)
        self._damaged.discard(str(log))

    def tidy(self, age: float) -> None:
        """Let go of logs that nobody has looked at for so many seconds; the next look reads them again."""
        for name, followed in list(self._followed.items()):
            if time.monotonic() - followed.looked > age:
                self._followed.pop(name, None)


def _shown(record: Record) -> Record:
    return replace(record, event=_public(record.event)) if isinstance(record.event, Failed) else record


def _public(event: Failed) -> Failed:
    """An error as visitors may read it: the log of an experiment names folders of the server, the page does not."""
    return replace(event, message=FOLDERS.sub("", event.message))
