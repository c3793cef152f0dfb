"""The append-only log of a run: one JSON record a line, numbered from zero."""

import lzma
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from iwae_core.events import Event, Record, decode, encode


class EventLog:
    """Writes a log; each line reaches the file before the next event is made, so a reader can follow it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8")
        self._next = 0

    def append(self, event: Event, seconds: float) -> Record:
        """Number the event, write it and return its record."""
        record = Record(self._next, seconds, event)
        self._file.write(encode(record) + "\n")
        self._file.flush()
        self._next += 1
        return record

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


class LogReader:
    """Reads a log that may still be growing; `new()` returns what has come since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new(self) -> list[Record]:
        """The complete lines written since; an unfinished last line waits for its end."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [decode(line) for line in complete.decode().splitlines()]


def read_log(path: Path) -> Iterator[Record]:
    """Every record of a finished log, plain or `.xz`."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        yield from map(decode, file)
