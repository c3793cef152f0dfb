"""An experiment on a cluster as its server sees it: where it is, and what has come from there into its folder."""

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster.messages import Ask, Deposit, Key, Report
from iwae_lab.engines.cluster.placement import Placement
from iwae_lab.engines.protocol import Order, Pause, Resume, Slow, Step, encode
from iwae_lab.engines.runner import explained
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, PREVIOUS, SPEC, saved
from iwae_lab.records.log import EventLog, LogError, length, split_end

PACE = Pause, Resume, Slow, Step  # orders about when steps are made


class Remote:
    """One attempt at an experiment. Keeps its log locked, and adds to it only what follows on the last record."""

    def __init__(self, experiment_id: str, folder: Path, placement: Placement, log: EventLog) -> None:
        self.folder, self.placement, self._log = folder, placement, log
        self.key: Key = (experiment_id, placement.attempt)
        self.worker = placement.worker
        self.deposit: Deposit | None = None  # still to be brought there
        self.begun = False  # by this server's order
        self.death: Death | None = None
        self._orders: list[str] = []  # that are not known to have arrived
        self._had: int | None = None  # orders that are; None if it was taken over, until it has answered
        self._version = 0  # of the last checkpoint that came

    @classmethod
    def sent(cls, experiment_id: str, folder: Path, worker: str, processor: str, orders: Sequence[Order]) -> "Remote":
        """A further attempt, from the last saved state, on a worker.

        Raises:
            CheckpointError: as `saved`.
            LogError: another process writes its log, or it has lost records.
            OSError: its folder cannot be read or written.
        """
        before, state = Placement.read(folder), saved(folder)
        processors = before.processors + (processor,) * (before.processors[-1:] != (processor,))
        pace = next((encode(order) for order in reversed(orders) if isinstance(order, PACE)), encode(Resume()))
        placement = Placement(before.attempt + 1, worker, pace, processors)
        records = state["events"] if state else 0
        remote = cls(experiment_id, folder, placement, EventLog(folder / LOG, records))
        try:
            placement.write(folder)
            names = [SPEC, CHECKPOINT, PREVIOUS] if state else [SPEC]
            files = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
        except OSError:
            remote._log.close()
            raise
        encoded = [encode(order) for order in orders]
        remote.deposit = Deposit(experiment_id, placement.attempt, files, records, encoded)
        remote._had = len(encoded)
        return remote

    @classmethod
    def found(cls, experiment_id: str, folder: Path) -> "Remote | None":
        """The attempt that another server has begun, if there is one.

        Raises:
            LogError: another process writes its log, or it is damaged.
            OSError: its folder cannot be read.
        """
        placement = Placement.read(folder)
        if not placement.worker:
            return None
        return cls(experiment_id, folder, placement, EventLog(folder / LOG, length(folder / LOG)))

    def send(self, order: Order) -> None:
        """Have an order delivered with the next visit."""
        self._orders.append(encode(order))
        if isinstance(order, PACE):
            self._note(replace(self.placement, pace=encode(order)))

    def ask(self) -> Ask:
        """What is wanted of the worker."""
        orders = () if self._had is None else tuple(self._orders)
        return Ask(*self.key, self._log.length, self._version, self._had or 0, orders)

    def hear(self, report: Report) -> None:
        """Write what has come, unless it has come before; what cannot be written ends the attempt."""
        if self.death or (report[:2], report.since) != (self.key, self._log.length):
            return
        arrived = 0 if self._had is None else report.orders - self._had
        del self._orders[:arrived]
        self._had = report.orders
        try:
            lines, end = split_end(report.lines)
            self._log.copy(lines)
            if report.checkpoint:
                self._log.sync()  # a checkpoint never knows of events that the log has lost
                checkpoint.put(self.folder / CHECKPOINT, report.checkpoint)
            self._version = report.version
            self._log.copy(end)
        except LogError as error:
            self.close(Death(str(error)))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self.close(Death("disk full: what it has made could not be kept" if full else explained(error), final=full))
        else:
            if report.death:
                self.close(report.death)

    def close(self, death: Death) -> None:
        """This attempt is over; others may write the log."""
        if self.death is None:
            self._log.close()
            self._note(replace(self.placement, worker=""))
            self.death = death

    def leave(self) -> None:
        """Let another server take it over."""
        self._log.close()

    def _note(self, placement: Placement) -> None:
        self.placement = placement
        with suppress(OSError):  # it then is taken over as it was before, at worst
            placement.write(self.folder)
