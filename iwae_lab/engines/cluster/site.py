"""The far end of a cluster: experiments beside one Dask worker, each in a worker process of its own.

Dask brings requests here, and gives each experiment a thread that only waits for its process. So one can be ended in
the middle of a step, and is held to its memory, as on a single machine.
"""

import logging
import math
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from iwae_lab.engines.cluster.guest import Guest
from iwae_lab.engines.cluster.identity import identity
from iwae_lab.engines.cluster.messages import Answer, Ask, Deposit, Drop, Key, Report, Request
from iwae_lab.engines.local import WorkerProcesses
from iwae_lab.engines.protocol import Leave, Order, decode
from iwae_lab.engines.settings import from_environment

LOOK = 0.02  # seconds between two looks at a process
ROOM = 100e6  # bytes on disk below which no further experiment is taken in: its log, and a checkpoint three times
RESPITE = 60.0  # seconds until a disk that could not be written is tried again
FULL = "a disk that is full or cannot be written"
LOGGER = logging.getLogger(__name__)


class Site:
    """All guests of a Dask worker. Its event loop brings requests, its threads iterate: one at a time is in here."""

    def __init__(self, threads: int, folder: Path) -> None:
        self._threads, self._folder = threads, folder
        self._guests: dict[Key, Guest] = {}
        self._processes = WorkerProcesses(from_environment(), respite=math.inf)
        self._patience = math.inf
        self._again = 0.0  # when its disk may be written again
        self._lock = threading.Lock()

    def answer(self, requests: Sequence[Request], patience: float) -> Answer:
        """Do as a server asks; whom none asks for in so many seconds has to leave, and is forgotten in the end."""
        with self._lock:
            self._patience = patience
            reports = [found for request in requests if (found := self._do(request))]
            for key, guest in list(self._guests.items()):
                if self._forsaken(guest):
                    self._forget_if_over(key, guest)
            return Answer(identity(), self._threads, self._busy, list(self._guests), reports, self._suffers)

    def iterate(self, key: Key, closing: Callable[[], bool]) -> None:
        """See an attempt to its end, if it is here and has not begun: Dask repeats what it takes for lost.

        It has to leave when its Dask worker is closing.
        """
        with self._lock:
            guest = self._guests.get(key)
            if guest is None or guest.begun:
                return
            guest.begun = True
            self._processes.start(str(guest.folder), guest.folder, guest.orders)
        while guest.death is None:
            time.sleep(LOOK)
            with self._lock:
                self._look_after(guest, closing())
        if guest.dropped:
            with self._lock:
                self._forget_if_over(key, guest)

    @property
    def _busy(self) -> int:
        return sum(guest.death is None for guest in self._guests.values())

    @property
    def _suffers(self) -> str:
        full = time.monotonic() < self._again or shutil.disk_usage(self._folder).free < ROOM
        return FULL if full else ""

    def _do(self, request: Request) -> Report | None:
        key = (request.experiment_id, request.attempt)
        match request, self._guests.get(key):
            case Deposit(), None if self._busy < self._threads and not self._suffers:
                self._take_in(key, request)
            case Drop(), Guest() as guest:
                guest.dropped = True
                self._forget_if_over(key, guest)
            case Ask(), Guest() as guest:
                guest.heard = time.monotonic()
                for order in request.orders[guest.had - request.first :]:
                    self._tell(guest, decode(order))  # type: ignore[arg-type]
                return guest.report(request)
        return None

    def _take_in(self, key: Key, deposit: Deposit) -> None:
        """Have a guest, if its folder can be written; its server sees whether it is here."""
        place = self._folder / f"iwae-{secrets.token_hex(8)}"
        try:
            place.mkdir(0o700)
            self._guests[key] = Guest.arriving(deposit, place / deposit.experiment_id)
        except OSError as error:
            LOGGER.error("a run cannot be kept here: %s", error)
            self._again = time.monotonic() + RESPITE
            shutil.rmtree(place, ignore_errors=True)

    def _tell(self, guest: Guest, order: Order) -> None:
        guest.had += 1
        if guest.begun:
            self._processes.send(str(guest.folder), order)
        else:
            guest.orders.append(order)

    def _look_after(self, guest: Guest, closing: bool) -> None:
        self._processes.tend()
        if (closing or self._forsaken(guest)) and not guest.leaving:
            guest.leaving = True
            self._processes.send(str(guest.folder), Leave())
        guest.death = self._processes.ended(str(guest.folder), at_once=guest.dropped)

    def _forsaken(self, guest: Guest) -> bool:
        return time.monotonic() - guest.heard > self._patience

    def _forget_if_over(self, key: Key, guest: Guest) -> None:
        if guest.death or not guest.begun:
            self._guests.pop(key, None)
            shutil.rmtree(guest.folder.parent, ignore_errors=True)


_sites: WeakKeyDictionary[Any, Site] = WeakKeyDictionary()


def site(worker: Any) -> Site:
    """That of a Dask worker; several may share a process."""
    if worker not in _sites:
        logging.getLogger("distributed.worker").addFilter(_no_visit)  # or it would tell of each, four times a second
        _sites[worker] = Site(worker.state.nthreads, Path(worker.local_directory))
    return _sites[worker]


def _no_visit(record: logging.LogRecord) -> bool:
    return record.args != (visit.__name__,)


def visit(requests: Sequence[Request], patience: float, dask_worker: Any) -> Answer:
    """What a server has Dask run in the event loop of a worker."""
    return site(dask_worker).answer(requests, patience)


def iterate(experiment_id: str, attempt: int) -> None:
    """What a server has Dask run in a thread of a worker."""
    from distributed import Status, get_worker

    worker = get_worker()
    open_ = Status.running, Status.paused
    site(worker).iterate((experiment_id, attempt), lambda: worker.status not in open_)
