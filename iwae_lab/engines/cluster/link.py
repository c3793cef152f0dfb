"""A server's one connection to its cluster, kept up and watched in a thread of its own."""

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any

from iwae_lab.engines.cluster import site
from iwae_lab.engines.cluster.messages import Answer
from iwae_lab.engines.cluster.remote import Remote
from iwae_lab.engines.cluster.roster import Roster, Seat
from iwae_lab.engines.settings import EngineLimits

CONNECT = 3.0  # seconds within which a scheduler has to answer
RETRY = 1.0  # seconds between two attempts to reach it, and two looks at who is there
VISIT = 0.25  # seconds between two visits to a worker that iterates something of this server's
PLAIN = "%s is not encrypted, and whoever reaches it can run code there; docs/operations.md says how to encrypt it"


class Link:
    """Keeps a roster true."""

    def __init__(self, address: str, limits: EngineLimits, roster: Roster) -> None:
        self._address, self._limits, self._roster = address, limits, roster
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._awake: dict[str, asyncio.Event] = {}  # what is to be visited now
        if address.startswith("tcp:"):
            roster.tell(PLAIN, address)
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._keep(),), name="cluster", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the connection; what runs on the cluster goes on. One that is slow to end, ends with this process."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(CONNECT)
        if not self._thread.is_alive():
            self._loop.close()

    def call(self, worker: str) -> None:
        """Visit a worker now."""
        if awake := self._awake.get(worker):
            self._loop.call_soon_threadsafe(awake.set)

    async def _keep(self) -> None:
        """Keep a connection until this link is closed."""
        from distributed import Client

        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # a roster tells the same in a sentence
        while not self._closing.is_set():
            client = Client(self._address, asynchronous=True, set_as_default=False, timeout=CONNECT)
            try:
                await asyncio.wait_for(client, CONNECT)
                await self._watch(client)
            except Exception as error:  # whatever it is, the next attempt may find things mended
                text = "the cluster at %s does not answer: %s"
                self._roster.tell(text, self._address, str(error) or "it took too long")
            with self._roster.lock:
                self._roster.lost()
            with suppress(Exception):  # of a client that was never connected, for instance
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
                for worker in set(following) - present:
                    following.pop(worker).cancel()
                with self._roster.lock:
                    for worker in present - set(following):
                        self._roster.seats[worker] = Seat()
                        following[worker] = asyncio.create_task(self._follow(client, worker))
                    self._roster.only(present)
                await self._pause(RETRY)
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)

    async def _follow(self, client: Any, worker: str) -> None:
        """Visit a worker again and again."""
        awake = self._awake[worker] = asyncio.Event()
        while True:
            awake.clear()
            try:
                calm = await self._visit(client, worker)
            except Exception as error:  # of the scheduler, which `_watch` looks after, or of what came from there
                calm = True
                text = "worker %s of the cluster could not be visited: %s"
                self._roster.tell(text, worker, str(error) or type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(awake.wait(), RETRY if calm else VISIT)

    async def _visit(self, client: Any, worker: str) -> bool:
        """Bring a worker what is wanted, and take in what it answers; returns whether there is little to come.

        One that is silent is waited for, but what was there is begun elsewhere.

        Raises:
            CommClosedError: it cannot be reached.
        """
        from distributed.comm.core import CommClosedError

        with self._roster.lock:
            requests = self._roster.requests(worker)
        patience = self._limits.grace + self._limits.abandon
        call = asyncio.ensure_future(client.run(site.visit, requests, patience, workers=[worker], on_error="return"))
        try:
            if not (await asyncio.wait({call}, timeout=self._limits.hang))[0]:
                with self._roster.lock:
                    self._roster.silent(worker, self._limits.hang)
            answer = (await call)[worker]
        finally:
            call.cancel()
        with self._roster.lock:
            if isinstance(answer, CommClosedError):  # the scheduler does not reach it, or no longer
                self._roster.seats[worker].answers = False
                raise answer
            if not isinstance(answer, Answer):
                self._roster.fails(worker, answer)
                return True
            for remote in self._roster.hear(worker, answer):
                _begin(client, remote)
            return not self._roster.at(worker)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def _begin(client: Any, remote: Remote) -> None:
    """Have Dask give an attempt a thread of its worker, whether a server is there or not."""
    from distributed import fire_and_forget

    # The scheduler looks at what it hands on. A function inside another is sent whole, so it imports nothing for that.
    def iterate(experiment_id: str, attempt: int) -> None:
        from iwae_lab.engines.cluster import site as there

        there.iterate(experiment_id, attempt)

    key = "-".join(map(str, ("run", *remote.key)))
    fire_and_forget(client.submit(iterate, *remote.key, key=key, workers=[remote.worker], pure=False))
