"""The append-only log of an experiment: one JSON record a line, numbered from zero."""

import fcntl
import lzma
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice, takewhile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from iwae_core.training import events
from iwae_core.training.events import Event, Failed, Finished, Record, encode
from iwae_lab.records.files import FOREIGN, opened

TAIL = 65_536  # bytes: the record of an end is far shorter


class LogError(Exception):
    """A log cannot be read, or not be written on: it is damaged, has lost records, or another process writes it."""


class EventLog:
    """Writes a log; each line reaches the file before the next event is made, so a reader can follow it.

    A log that exists is cut after its first `keep` records: those that followed will be made again.

    Raises:
        LogError: another process writes this log, or it has fewer records.
        OSError: it cannot be opened, as where it is a symbolic link.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.length = keep
        self._file = opened(path, "ab", 0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go of when the process ends, however it does
            self._bytes = _end(path, keep)
            self._file.truncate(self._bytes)
        except BlockingIOError:
            self._file.close()
            raise LogError("this run is being trained by another process; stop that one first") from None
        except LogError:
            self._file.close()
            raise

    def append(self, event: Event, seconds: float) -> Record:
        """Number the event, write it and return its record.

        Raises:
            OSError: it cannot be written, as on a full disk; the log then is what it was before.
        """
        record = Record(self.length, seconds, event)
        self._write((encode(record) + "\n").encode())
        self.length += 1
        return record

    def copy(self, lines: bytes) -> None:
        """Write records that were made elsewhere, whole lines that follow on the last one here.

        Raises:
            LogError: they do not follow on it, or are no records; nothing is written then.
            OSError: as `append`.
        """
        found = lines.splitlines(keepends=True)
        for number, line in enumerate(found, self.length):
            if not (line.startswith(b'{"number": %d, ' % number) and line.endswith(b"}\n")):
                raise LogError(f"record {number:,} did not arrive as it was made")
        self._write(lines)
        self.length += len(found)

    def _write(self, lines: bytes) -> None:
        rest = lines
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._bytes)
            raise
        self._bytes += len(lines)

    def sync(self) -> None:
        """Wait until everything written would survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let others write."""
        self._file.close()

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _end(path: Path, records: int) -> int:
    """Where so many records end, in bytes."""
    with path.open("rb") as file:
        lines = [len(line) for line in islice(file, records) if line.endswith(b"\n")]
    if len(lines) < records:
        raise LogError(f"{path.name} has lost records: {len(lines):,} are left of at least {records:,}; train again")
    return sum(lines)


def decode(line: bytes, place: Path) -> Record:
    """The record of a line.

    Raises:
        LogError: it is damaged.
    """
    try:
        return events.decode(line.decode())
    except FOREIGN as error:
        raise LogError(f"{place.name} is damaged; what it told before that is shown") from error


def outcome(path: Path) -> Finished | Failed | None:
    """How the experiment of a log ended, if it has; reads the end of the file only.

    Raises:
        LogError: it cannot be read, or its end is damaged.
    """
    line = _last_line(path)
    if not _is_end(line):
        return None
    event = decode(line, path).event
    return event if isinstance(event, Finished | Failed) else None


def _is_end(line: bytes) -> bool:
    return any(f'"{kind.__name__}": {{'.encode() in line[:100] for kind in (Finished, Failed))


def split_end(lines: bytes) -> tuple[bytes, bytes]:
    """Whole lines of a log without the end of its experiment, and that."""
    before = lines.rfind(b"\n", 0, -1) + 1
    return (lines[:before], lines[before:]) if _is_end(lines[before:]) else (lines, b"")


def conclude(path: Path, end: Callable[[int], Finished | Failed]) -> None:
    """Write the end of one that nothing iterates, from the number of steps it has made; an empty log gets one too.

    Raises:
        LogError: another process writes this log, or its end is damaged.
        OSError: it cannot be written.
    """
    line = _last_line(path)
    last = decode(line, path) if line else None
    with EventLog(path, last.number + 1 if last else 0) as log:
        log.append(end(getattr(last.event, "step", 0) if last else 0), last.seconds if last else 0.0)


def length(path: Path) -> int:
    """How many records a log has, by the number of its last; none if it does not exist.

    Raises:
        LogError: it cannot be read, or its end is damaged.
    """
    line = _last_line(path)
    return decode(line, path).number + 1 if line else 0


def _last_line(path: Path) -> bytes:
    """The last complete line of a file; empty if there is none."""
    with _opened(path) as file:
        size, span = file.seek(0, os.SEEK_END), 0
        while span < size:
            span = min(size, 2 * span or TAIL)
            file.seek(size - span)
            lines = file.read(span).split(b"\n")[:-1]
            whole = lines if span == size else lines[1:]  # the first may have begun earlier
            if whole:
                return whole[-1]
    return b""


def _opened(path: Path) -> BinaryIO:
    """A log to read from; one that does not exist yet is empty.

    Raises:
        LogError: it cannot be read.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        return BytesIO()
    except OSError as error:
        raise LogError(f"{path.name} cannot be read: {error.strerror}") from error


class LogReader:
    """Reads a log that may still be growing; `new()` tells what has come since the last call.

    An experiment that goes on from its checkpoint cuts its log: the reader notices, and begins again with record 0.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._length = 0
        self._doubtful = 0  # where a line could not be read, and everything was read again

    def new(self) -> Iterator[Record]:
        """The complete lines written since, each read when it is asked for: all at once may be a hundred MB.

        An unfinished last line waits for its end.

        Raises:
            LogError: the next line is damaged, or the file cannot be read. The lines before have been told.
        """
        for told, line in enumerate(self._since()):
            try:
                yield self._record(line)
            except LogError:
                if told:
                    return
                if self._offset in (0, self._doubtful):
                    raise
                # The log may have been cut, and have other lines at this place.
                self._doubtful, self._offset, self._length = self._offset, 0, 0
                yield from self.new()
                return

    def _record(self, line: bytes) -> Record:
        record = decode(line, self._path)
        if record.number != self._length:
            raise LogError(f"{self._path.name} is damaged: its record {self._length:,} is missing")
        self._offset += len(line)
        self._length += 1
        return record

    def _since(self) -> Iterator[bytes]:
        with _opened(self._path) as file:
            if self._offset:
                file.seek(self._offset - 1)
                if file.read(1) != b"\n":  # the end of what was read last has gone
                    self._offset = self._length = 0
            file.seek(self._offset)
            yield from takewhile(lambda line: line.endswith(b"\n"), file)


def read_log(path: Path) -> Iterator[Record]:
    """Every record of a finished log, plain or `.xz`."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as file:
        yield from map(events.decode, file)
