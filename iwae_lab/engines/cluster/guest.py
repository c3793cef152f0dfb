"""An attempt at an experiment on a worker of a cluster: it lies in a folder there until a server has collected it."""

import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster.messages import Ask, Deposit, Report
from iwae_lab.engines.protocol import Order, decode
from iwae_lab.records.folder import CHECKPOINT, LOG
from iwae_lab.records.log import split_end

LOT = 1_000_000  # bytes of a log in one answer, about


@dataclass
class Guest:
    """Its files, and how far it is."""

    folder: Path
    orders: list[Order]  # to begin with
    had: int  # orders in all
    heard: float = field(default_factory=time.monotonic)  # when a server last asked for it
    begun: bool = False
    leaving: bool = False
    dropped: bool = False
    death: Death | None = None
    _place: tuple[int, int] = 0, 0  # a record of its log, and where that begins

    @classmethod
    def arriving(cls, deposit: Deposit, folder: Path) -> "Guest":
        """What was brought, in a new folder. Empty lines stand for the records that were made elsewhere.

        Raises:
            OSError: it cannot be written.
        """
        folder.mkdir()
        for name, content in deposit.files.items():
            (folder / name).write_bytes(content)
        (folder / LOG).write_bytes(b"\n" * deposit.records)
        return cls(folder, [decode(order) for order in deposit.orders], len(deposit.orders))  # type: ignore[misc]

    def report(self, ask: Ask) -> Report:
        """What is new. Ends and checkpoints are looked at first: the log then holds all that they know of."""
        death, (version, checkpoint) = self.death, self._checkpoint(ask.checkpoint)
        lines, all_told = self._lines(ask.since)
        if split_end(lines)[1]:  # which comes after the last state was saved
            version, checkpoint = self._checkpoint(ask.checkpoint)
        report = Report(*ask[:3], lines, self.had, ask.checkpoint)
        return report._replace(version=version, checkpoint=checkpoint, death=death) if all_told else report

    def _checkpoint(self, known: int) -> tuple[int, bytes]:
        """The last one, if it is not the one known already."""
        path = self.folder / CHECKPOINT
        try:
            version = path.stat().st_mtime_ns
            return (known, b"") if version == known else (version, path.read_bytes())
        except FileNotFoundError:  # none yet, or the next takes its place at this moment
            return known, b""

    def _lines(self, since: int) -> tuple[bytes, bool]:
        """Whole lines from a record on, and whether these are all there are."""
        number, offset = self._place if self._place[0] <= since else (0, 0)
        with (self.folder / LOG).open("rb") as log:
            log.seek(offset)
            offset += sum(map(len, islice(log, since - number)))
            self._place = since, offset
            log.seek(offset)
            lines = bytearray()
            while (line := log.readline()).endswith(b"\n"):
                if len(lines) >= LOT:
                    return bytes(lines), False
                lines += line
        return bytes(lines), True
