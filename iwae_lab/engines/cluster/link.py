"""A server's one connection to its cluster, kept up and watched in a thread of its own."""

import asyncio
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster import site
from iwae_lab.engines.cluster.identity import identity
from iwae_lab.engines.cluster.messages import Answer, Drop, Key, Request
from iwae_lab.engines.cluster.remote import Remote
from iwae_lab.engines.settings import EngineLimits

LOGGER = logging.getLogger(__name__)
CONNECT = 3.0  # seconds within which a scheduler has to answer
RETRY = 1.0  # seconds between two attempts to reach it, and two looks at who is there
VISIT = 0.25  # seconds between two visits to a worker that iterates something of this server's
SILENT = "The cluster that trains does not answer. Runs wait here, or go on there, until it does."
EMPTY = "The cluster that trains has no workers at the moment. Runs wait until it has."
OTHERS = "The workers of the cluster cannot train for this page: they have {}. Runs wait until they have the same."


@dataclass
class Seat:
    """A worker of the cluster as this server sees it."""

    threads: int = 0
    busy: int = 0  # of them, with attempts of others
    processor: str = ""
    refused: str = ""  # what keeps it from training for this server
    answers: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Link:
    """Who else reads or changes what is here holds `lock`."""

    def __init__(self, address: str, limits: EngineLimits) -> None:
        self.lock = threading.RLock()
        self.remotes: dict[str, Remote] = {}
        self.trouble = SILENT
        self._address, self._limits = address, limits
        self._seats: dict[str, Seat] = {}
        self._over: dict[Key, str] = {}  # attempts that are to be forgotten, and by which worker
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._told: set[str] = set()
        if address.startswith("tcp:"):
            self._tell("%s is not encrypted, and whoever reaches it can run code there; see Cluster in docs", address)
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._keep(),), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection; what runs on the cluster goes on."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._loop.close()

    def call(self, worker: str) -> None:
        """Visit a worker now."""
        if seat := self._seats.get(worker):
            self._loop.call_soon_threadsafe(seat.wake.set)

    def drop(self, remote: Remote) -> None:
        """Have the worker of an attempt forget it, as soon as it can be reached."""
        self._over[remote.key] = remote.worker
        self.call(remote.worker)

    def room(self) -> tuple[str, str]:
        """The worker with most room, and its kind of processor.

        Raises:
            OSError: there is none.
        """
        free = {worker: self._free(worker) for worker, seat in self._seats.items() if self._useful(seat)}
        if not free or max(free.values()) <= 0:
            raise OSError("no worker of the cluster is free")
        worker = max(free, key=lambda worker: free[worker])
        return worker, self._seats[worker].processor

    def slots(self) -> int:
        """How many attempts of this server there is room for, those included that are here."""
        with self.lock:
            return sum(max(0, seat.threads - seat.busy) for seat in self._seats.values() if self._useful(seat))

    def _useful(self, seat: Seat) -> bool:
        return seat.answers and not seat.refused

    def _free(self, worker: str) -> int:
        seat = self._seats[worker]
        return seat.threads - seat.busy - sum(remote.worker == worker for remote in self.remotes.values())

    async def _keep(self) -> None:
        """Keep a connection until this link is closed."""
        from distributed import Client

        while not self._closing.is_set():
            client = Client(self._address, asynchronous=True, set_as_default=False, timeout=CONNECT)
            try:
                await asyncio.wait_for(client, CONNECT)
                await self._watch(client)
            except (OSError, TimeoutError) as error:
                self._tell("the cluster at %s does not answer: %s", self._address, str(error) or "it took too long")
            with self.lock:
                self._seats.clear()
                self.trouble = SILENT
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(client.close(), CONNECT)
            await self._pause(RETRY)

    async def _watch(self, client: Any) -> None:
        """Follow every worker of the cluster, as long as its scheduler answers.

        Raises:
            OSError: it does not.
            TimeoutError: it does not in time.
        """
        following: dict[str, asyncio.Task[None]] = {}
        try:
            while not self._closing.is_set():
                if client.status != "running":
                    raise OSError("the connection was lost")
                found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), CONNECT)
                present = set(found["workers"])
                for worker in present - set(following):
                    following[worker] = asyncio.create_task(self._follow(client, worker))
                for worker in set(following) - present:
                    following.pop(worker).cancel()
                with self.lock:
                    self._only(present)
                await self._pause(RETRY)
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)

    def _only(self, present: set[str]) -> None:
        """Forget those workers that are not there any more."""
        for worker in set(self._seats) - present:
            del self._seats[worker]
        for remote in self.remotes.values():
            if remote.worker not in present:
                remote.close(Death("its worker left the cluster", innocent=True))
        self._over = {key: worker for key, worker in self._over.items() if worker in present}
        refused = {seat.refused for seat in self._seats.values()}
        self.trouble = EMPTY if not refused else "" if "" in refused else OTHERS.format("; ".join(sorted(refused)))

    async def _follow(self, client: Any, worker: str) -> None:
        """Visit a worker again and again. One that is silent is waited for, but what was there is begun elsewhere."""
        seat = Seat()
        with self.lock:
            self._seats[worker] = seat
        while True:
            seat.wake.clear()
            with self.lock:
                requests = self._requests(worker)
            patience = self._limits.grace + self._limits.abandon
            call = client.run(site.visit, requests, patience, workers=[worker], on_error="return")
            visit = asyncio.ensure_future(call)
            try:
                if not (await asyncio.wait({visit}, timeout=self._limits.hang))[0]:
                    self._silent(worker, seat)
                answer = (await visit)[worker]
            except OSError:  # of the scheduler, which `_watch` looks after
                answer = None
            finally:
                visit.cancel()
            with self.lock:
                if isinstance(answer, Answer):
                    self._hear(client, worker, seat, answer)
                elif answer:
                    self._refuse(worker, seat, f"an error there ({type(answer).__name__}: {answer})")
                calm = answer is None or seat.refused or not any(self._at(worker))
            with suppress(TimeoutError):
                await asyncio.wait_for(seat.wake.wait(), RETRY if calm else VISIT)

    def _at(self, worker: str) -> list[Remote]:
        return [remote for remote in self.remotes.values() if remote.worker == worker and remote.death is None]

    def _requests(self, worker: str) -> list[Request]:
        """What is wanted of a worker."""
        requests: list[Request] = [Drop(*key) for key, where in self._over.items() if where == worker]
        for remote in self._at(worker):
            requests += [remote.deposit] if remote.deposit else []
            requests.append(remote.ask())
        return requests

    def _hear(self, client: Any, worker: str, seat: Seat, answer: Answer) -> None:
        """Take in what a worker has answered."""
        guests, own = set(answer.guests), self._at(worker)
        seat.answers, seat.threads, seat.processor = True, answer.threads, answer.identity.processor
        seat.busy = answer.busy - sum(remote.key in guests for remote in own)
        self._refuse(worker, seat, ", ".join(identity().differences(answer.identity)))
        for remote in own:
            if remote.key not in guests:
                remote.close(Death("its worker does not hold it", innocent=True))
            elif not remote.begun:
                remote.begun, remote.deposit = True, None
                self._begin(client, remote)
        for report in answer.reports:
            if (told := self.remotes.get(report.experiment_id)) and told.worker == worker:
                told.hear(report)
        self._over = {key: where for key, where in self._over.items() if where != worker or key in guests}
        for experiment_id, attempt in guests:  # a twin that was given up, perhaps by a server before this one
            current = self.remotes.get(experiment_id)
            if current and attempt < current.placement.attempt:
                self._over[experiment_id, attempt] = worker

    def _begin(self, client: Any, remote: Remote) -> None:
        """Have Dask give an attempt a thread of its worker, once and for all."""
        from distributed import fire_and_forget

        key = "-".join(map(str, ("run", *remote.key)))
        fire_and_forget(client.submit(site.iterate, *remote.key, key=key, workers=[remote.worker], pure=False))

    def _silent(self, worker: str, seat: Seat) -> None:
        with self.lock:
            seat.answers = False
            for remote in self._at(worker):
                remote.close(Death(f"its machine did not answer for {self._limits.hang:g} seconds", innocent=True))

    def _refuse(self, worker: str, seat: Seat, reason: str) -> None:
        seat.refused = reason
        if reason:
            self._tell("worker %s of the cluster cannot train for this server: it has %s", worker, reason)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    def _tell(self, text: str, *values: object) -> None:
        """Tell whoever runs the server, once: what is tried again and again fails again and again."""
        if (told := text % values) not in self._told:
            self._told.add(told)
            LOGGER.warning(told)
