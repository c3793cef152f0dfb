"""`make soak`: hundreds of runs are started and cancelled while workers are killed. Then nothing may be lost or left.

Visitors open the page of a server as it is shipped, start runs, watch each for a while and stop it, in the queue, in
training or paused; one in twenty they leave until the end. Ten watch a run that goes on all the time, ten hostile
clients do what those of `tools.hostile` do, and every few seconds a worker is killed. Exit code 1, and a line for each,
if a run was lost, made a step twice or left one out, if a process, a descriptor or half a file was left behind, if
memory grew by more than 5 per cent, or if those who watch got too little. With `--cluster N` a cluster of N workers
trains, and these are killed, or what trains beside one.
"""

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import parse_qs

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from benchmarks.classroom import Session, _train, laboratory
from iwae_core.training.events import Failed, Finished, Progress
from iwae_lab.engines import Engine, open_engine
from iwae_lab.engines.settings import SCHEDULER
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import LogReader, outcome
from tools.cluster import Cluster, clustered
from tools.faults import VIEWERS, Viewer
from tools.hostile import KINDS
from tools.server import besieged, children, memory, served
from ui.visitor import new_cookie

PORT = 8744
ADDRESS = f"127.0.0.1:{PORT}"
LIGHT = "runs=iwae&k=1&batch_size=1&steps=1000000&eval_images=2&eval_k=1"
HEAVY = "runs=iwae&k=5000&batch_size=100&eval_images=2&eval_k=1"
HOSTILE = [*KINDS, "looks", "loop"]
PATIENCE = 900.0  # seconds that one run may take to get a slot and to end
QUIET = 130.0  # seconds: Streamlit keeps closed pages for two minutes, and then until the next one is closed
GROWTH, UPDATES, LOOKS = 0.05, 1.5, 20


class Taken(NamedTuple):
    """MB of memory, descriptors and processes."""

    memory: float
    descriptors: int
    processes: int


class Soak:
    """Visitors, and whoever kills workers, on one server."""

    def __init__(self, folder: Path, server: int, watched: str, cluster: Cluster | None) -> None:
        self.folder, self.server, self.watched, self.cluster = folder, server, watched, cluster
        self.started: list[str] = []
        self.kills = self.refusals = 0
        self.stops: list[float] = []
        self._killing = asyncio.Event()
        self._killing.set()

    async def run(self, options: argparse.Namespace) -> list[str]:
        """All visitors at the same time, in two rounds; returns what is wrong after the second."""
        runs = options.runs // options.visitors
        rounds = [max(1, runs // 10), runs - max(1, runs // 10)]  # after the first, memory is what it will be
        between = asyncio.Barrier(options.visitors + 1)
        viewers = [Viewer(ADDRESS, self.watched) for _ in range(VIEWERS)]
        others = [asyncio.create_task(viewer.follow()) for viewer in viewers]
        others.append(asyncio.create_task(self.kill(options.kill_every)))
        async with asyncio.TaskGroup() as crowd:
            for visitor in range(options.visitors):
                crowd.create_task(self.visit(visitor, rounds, between))
            await between.wait()
            before = await self.settled()
            began = time.monotonic()
            await between.wait()
            await between.wait()
            seconds = time.monotonic() - began
            rates = [sum(at > began for at in viewer.updates) / seconds for viewer in viewers]
            after = await self.settled()
            await between.wait()
        for task in others:
            task.cancel()
        return self.told(before, after, seconds, rates)

    def told(self, before: Taken, after: Taken, seconds: float, rates: list[float]) -> list[str]:
        """Print the figures; returns what is wrong with them."""
        growth = after.memory / before.memory - 1
        print(
            f"{len(self.started)} runs, the second round in {seconds:.0f} s, {self.kills} workers killed, "
            f"{self.refusals} refusals. Stopped in {median(self.stops):.2f} s, {max(self.stops):.2f} s at most. "
            f"Memory {before.memory:.0f} to {after.memory:.0f} MB ({growth:+.1%}), descriptors {before.descriptors} to "
            f"{after.descriptors}, processes {before.processes} to {after.processes}. "
            f"{median(rates):.2f} updates a second ({min(rates):.2f})."
        )
        bad = [f"memory grew by {growth:.1%}"] if growth > GROWTH else []
        bad += (
            ["descriptors or processes are left"]
            if any(a > b for a, b in zip(after[1:], before[1:], strict=True))
            else []
        )
        return bad + ([f"who watched got {median(rates):.2f} updates a second"] if median(rates) < UPDATES else [])

    async def visit(self, visitor: int, rounds: list[int], between: asyncio.Barrier) -> None:
        """Start so many runs, one after the other, and stop each; then wait for the others, and again."""
        chance, left, cookie = random.Random(visitor), list[str](), new_cookie()
        async with connect(f"ws://{ADDRESS}/live", max_size=None) as live:
            reading = asyncio.create_task(_read(live))
            for runs in rounds:
                for number in range(runs):
                    run = await self._start(cookie, HEAVY if number % 10 == 9 else LIGHT)
                    await live.send(json.dumps([json.dumps({"part": "status", "experiment": run})]))
                    if chance.random() < 0.05:
                        left.append(run)
                        continue
                    await self._until(run, chance.choice([0, 0, 1, 5, 20]) if number % 10 < 9 else 0)
                    if chance.random() < 0.3:
                        await press(cookie, f"run={run}", chance.choice(["Pause", "Step"]))
                    await self._stop(cookie, run)
                while left:
                    await self._stop(cookie, left.pop())
                await live.send("[]")
                await between.wait()  # all have ended
                await between.wait()  # it has been seen what is left
            reading.cancel()

    async def _start(self, cookie: str, query: str) -> str:
        while True:
            if run := parse_qs(await press(cookie, query, "Train")).get("run"):
                self.started.append(run[0])
                return run[0]
            self.refusals += 1
            await asyncio.sleep(0.5)

    async def _until(self, run: str, step: float) -> None:
        """Wait until a run has made so many steps, or has ended."""
        log = self.folder / run / LOG

        def made() -> bool:
            if not log.exists():
                return step <= 0
            return log.read_bytes().count(b'"Progress"') >= step or outcome(log) is not None

        await _wait_for(made)

    async def _stop(self, cookie: str, run: str) -> None:
        log = self.folder / run / LOG
        await press(cookie, f"run={run}", "Stop")
        began = time.monotonic()
        await _wait_for(lambda: outcome(log) is not None)
        self.stops.append(time.monotonic() - began)

    async def kill(self, every: float) -> None:
        """Kill a worker now and then."""
        while True:
            await asyncio.sleep(every)
            await self._killing.wait()
            if self.cluster:
                self.cluster.kill()
                self.kills += 1
            elif workers := children(self.server):
                os.kill(random.choice(workers), signal.SIGKILL)
                self.kills += 1

    async def settled(self) -> Taken:
        """What the server takes once every run but the one that is watched has ended."""
        self._killing.clear()
        await _wait_for(self._alone)
        await asyncio.sleep(QUIET)
        await press(new_cookie(), "")
        taken = [await self.take() for _ in range(LOOKS)]
        self._killing.set()
        return Taken(*map(min, *taken))  # hostile clients come and go

    async def take(self) -> Taken:
        """What the server takes now, and a moment."""
        await asyncio.sleep(0.5)
        return Taken(memory(self.server), len(os.listdir(f"/proc/{self.server}/fd")), len(children(self.server)))

    def _alone(self) -> bool:
        """Whether what is watched is all that trains. A worker of a cluster keeps the process of the last run."""
        if self.cluster:
            ends = [outcome(log) for log in self.folder.glob(f"*/{LOG}") if log.parent.name != self.watched]
            return None not in ends and len(self.cluster.processes()) <= len(self.cluster.workers)
        return len(children(self.server)) == 1 + (outcome(self.folder / self.watched / LOG) is None)


async def press(cookie: str, query: str, button: str = "") -> str:
    """Open a page, press a button, if it has it, and close the page; returns the address that it then had."""
    async with laboratory(ADDRESS, cookie) as socket:
        session = Session(socket)
        await session.draw(query)
        if button in session.buttons:
            await session.draw(query, button)
        return session.query


async def _read(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("a run did not get on")
        await asyncio.sleep(0.1)


def problems(folder: Path, watched: str, started: list[str]) -> list[str]:
    """What has been lost or left on disk."""
    engine = open_engine("inline", folder)
    kept = {path.parent.name for path in folder.glob(f"*/{SPEC}")}
    found = [f"run {run} is gone" for run in started if run not in kept]
    found += [f"run {run} is nobody's" for run in kept - {watched, *started}]
    found += [f"run {run} {what}" for run in started if run in kept for what in _lost(engine, run)]
    return found + [f"{path} is left" for path in folder.rglob("*.partial")]


def _lost(engine: Engine, run: str) -> Iterator[str]:
    records = list(LogReader(engine.folder / run / LOG).new())
    end = records[-1].event if records else None
    if not (isinstance(end, Finished) or (isinstance(end, Failed) and "3 times in a row" in end.message)):
        yield f"is {engine.state(run)}: {end}"
    steps = [record.event.step for record in records if isinstance(record.event, Progress)]
    if steps != list(range(1, len(steps) + 1)):
        yield "has steps twice, or not at all"


async def soak(folder: Path, options: argparse.Namespace) -> list[str]:
    """Let all of it happen; returns what is wrong."""
    with clustered(options.cluster) as cluster, served(folder, PORT, **_settings(options, cluster)) as server:
        if cluster:
            await _wait_for(lambda: len(cluster.processes()) >= len(cluster.workers))  # the server has found them
        watched = await _train(ADDRESS, folder, 5, "&batch_size=5&eval_images=50&eval_k=100")
        tried = Soak(folder, server.pid, watched, cluster)
        with besieged(ADDRESS, HOSTILE, watched, 1):
            bad = await tried.run(options)
        bad += [f"the run that is watched has ended: {end}"] if (end := outcome(folder / watched / LOG)) else []
        workers = [*children(server.pid), *(cluster.processes() if cluster else [])]
        server.terminate()
        code = await asyncio.to_thread(server.wait, 60)
    if cluster:
        await asyncio.sleep(2)  # what trains beside a worker of a cluster saves first
    bad += [f"process {pid} outlives the server" for pid in workers if Path(f"/proc/{pid}").exists()]
    bad += [f"the server's exit code is {code}"] if code else []
    return bad + problems(folder, watched, tried.started)


def _settings(options: argparse.Namespace, cluster: Cluster | None) -> dict[str, str]:
    more = {SCHEDULER: cluster.address} if cluster else {"IWAE_SLOTS": str(options.slots + 1)}
    return {"IWAE_QUOTA_MB": "100000", **more}


def main() -> int:
    """Soak, and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], prog="python -m tools.soak")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--cluster", type=int, default=0, metavar="N", help="workers of a cluster that trains")
    os.environ["IWAE_SECRET"] = secrets.token_hex(16)  # cookies of the visitors are made here
    with tempfile.TemporaryDirectory() as folder:
        bad = asyncio.run(soak(Path(folder), parser.parse_args()))
    for problem in bad:
        print(f"soak: {problem}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
