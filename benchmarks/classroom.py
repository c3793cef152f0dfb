"""A class watches one trainer: `python -m benchmarks.classroom` measures what each of N watchers gets.

Everybody opens the page of those who only watch, follows its live parts, and opens it anew every ten seconds, as a
reader who reloads would; with `--page laboratory` a session of the laboratory instead (Streamlit's own web socket and
protocol). For each N it prints updates of the training curves per second and watcher, the time until a page shows all
its parts, the trainer's speed against its speed alone, the processor time of the server and of the watchers, both in
seconds a second, and the server's memory. The watchers' processor time is that of this process: on a machine with few
cores it is what the measurement itself takes away.

With `--vote` whoever trains asks the class, everybody answers twice, and it is checked that the counts are right.
"""

import argparse
import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).parents[1]
PARTS = ("status", "bounds", "curves", "times", "reading", "digits")  # what a page shows when it is opened
AGAIN = 10.0  # seconds until a page is opened anew
PAGES = "watch", "laboratory"
LIGHT = "&eval_images=50&eval_k=100"  # evaluations short enough for a new point of the curves at every update


class Session:
    """One page of the laboratory, by its own protocol: what is drawn is of no interest, but buttons can be pressed."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.buttons: dict[str, str] = {}  # ids by label
        self.query = ""  # what the page has last put into its address

    async def draw(self, query: str, press: str = "") -> float:
        """Have the page drawn, with a button pressed if one is named; returns the seconds that takes."""
        message = BackMsg()
        message.rerun_script.query_string = query
        if press:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self.buttons[press], True
        began = time.monotonic()
        await self.socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg.FromString(await self.socket.recv())
            element = answer.delta.new_element
            if element.WhichOneof("type") == "button":
                self.buttons[element.button.label] = element.button.id
            if answer.WhichOneof("type") == "page_info_changed":
                self.query = answer.page_info_changed.query_string
            if answer.WhichOneof("type") == "script_finished":
                return time.monotonic() - began


@dataclass
class Watcher:
    """One visitor: opens the page of a run, then watches, drawing nothing."""

    address: str
    experiment: str
    cookie: str
    responses: list[float] = field(default_factory=list)
    updates: int = 0
    poll: dict[str, Any] | None = None
    socket: ClientConnection | None = None

    async def watch(self, page: str, seconds: float) -> None:
        """Open the page, follow its live parts, and open it anew now and then."""
        end = time.monotonic() + seconds
        await asyncio.sleep(AGAIN * secrets.randbelow(1000) / 1000)  # not all at the same moment
        if page == "watch":
            while (left := end - time.monotonic()) > 0:
                began = time.monotonic()
                await asyncio.to_thread(_get, f"http://{self.address}/watch", self.cookie)
                await self._follow(min(left, AGAIN), began)
            return
        live = asyncio.create_task(self._follow(seconds, None))
        async with laboratory(self.address, self.cookie) as socket:
            session = Session(socket)
            while time.monotonic() < end:
                self.responses.append(await session.draw(f"run={self.experiment}&hide=controls"))
                await asyncio.sleep(AGAIN)
        live.cancel()

    async def _follow(self, seconds: float, began: float | None) -> None:
        looks = [json.dumps(_look(part, self.experiment), separators=(",", ":")) for part in (*PARTS, "poll")]
        missing = set(looks)
        async with connect(f"ws://{self.address}/live", **_as(self.cookie)) as socket:
            self.socket = socket
            await socket.send(json.dumps(looks))
            try:
                async with asyncio.timeout(seconds):
                    async for frame in socket:
                        key = _key(frame)
                        missing.discard(key)
                        self.updates += key == looks[2]
                        if key == looks[-1]:
                            self.poll = _drawing(frame)["poll"]
                        if began and not missing:
                            self.responses.append(time.monotonic() - began)
                            began = None
            except TimeoutError:
                pass

    async def vote(self, answer: int) -> None:
        """Answer what is asked, and again: the second answer must not count."""
        while self.poll is None or self.socket is None:
            await asyncio.sleep(0.05)
        for each in answer, 1 - answer:
            await self.socket.send(json.dumps({"poll": self.poll["name"], "answer": each}))


def laboratory(address: str, cookie: str) -> connect:
    """Streamlit's web socket."""
    return connect(f"ws://{address}/_stcore/stream", subprotocols=["streamlit"], **_as(cookie))  # type: ignore[list-item]


def _as(cookie: str) -> dict[str, Any]:
    return {"additional_headers": {"Cookie": f"iwae_visitor={cookie}"}, "max_size": None, "compression": None}


def _get(url: str, cookie: str) -> None:
    request = urllib.request.Request(url, headers={"Cookie": f"iwae_visitor={cookie}", "Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _key(frame: str | bytes) -> str:
    return frame.partition(b"\n")[0].decode() if isinstance(frame, bytes) else json.loads(frame)["key"]


def _drawing(frame: str | bytes) -> Any:
    from ui.live.hub import unpacked

    return unpacked(frame)[1] if isinstance(frame, bytes) else json.loads(frame)["data"]


def _look(part: str, experiment: str) -> dict[str, object]:
    from ui.live.scene import Look

    return asdict(Look(part, experiment))


@dataclass
class Room:
    """A server of its own, and the run that the class watches."""

    address: str
    folder: Path
    pid: int
    experiment: str
    owner: str  # cookie

    async def measure(self, page: str, watchers: int, seconds: float) -> dict[str, float]:
        """Let so many watch for a while."""
        visitors = self.visitors(watchers)
        before, began, used = self.step(), time.monotonic(), (processor(self.pid), time.process_time())
        await asyncio.gather(asyncio.sleep(seconds), *(visitor.watch(page, seconds) for visitor in visitors))
        elapsed = time.monotonic() - began
        now = processor(self.pid), time.process_time()
        responses = sorted(response for visitor in visitors for response in visitor.responses) or [0.0]
        updates = statistics.median(visitor.updates for visitor in visitors) if visitors else 0.0
        return {
            "watchers": watchers,
            "updates_per_second": updates / elapsed,
            "response_p50": statistics.median(responses),
            "response_p95": responses[int(0.95 * (len(responses) - 1))],
            "steps_per_second": (self.step() - before) / elapsed,
            "server_processor": (now[0] - used[0]) / elapsed,
            "watchers_processor": (now[1] - used[1]) / elapsed,
            "server_mb": round(_memory(self.pid)),
        }

    async def vote(self, watchers: int) -> dict[str, int]:
        """Ask the class, let everybody answer twice, and show the counts; how many answered and how many counted."""
        visitors, query = self.visitors(watchers), f"run={self.experiment}&projector=on"
        answers = [secrets.randbelow(2) for _ in visitors]
        async with laboratory(self.address, self.owner) as socket:
            session = Session(socket)
            await session.draw(query)
            await session.draw(query, next(label for label in session.buttons if label.startswith("One model")))
            watching = [asyncio.create_task(visitor.watch("watch", 60.0)) for visitor in visitors]
            await asyncio.gather(*(visitor.vote(answer) for visitor, answer in zip(visitors, answers, strict=True)))
            while any(visitor.poll is None or visitor.poll["votes"] < watchers for visitor in visitors):
                await asyncio.sleep(0.1)
            await session.draw(query)
            await session.draw(query, "Show the counts")
            while any(visitor.poll is None or visitor.poll["counts"] is None for visitor in visitors):
                await asyncio.sleep(0.1)
        told = [visitor.poll["counts"][:2] for visitor in visitors if visitor.poll]
        for task in watching:
            task.cancel()
        sent = Counter(answers)
        right = sum(counts == [sent[0], sent[1]] for counts in told)
        return {"voters": watchers, "told the right counts": right}

    def visitors(self, count: int) -> list[Watcher]:
        """So many, each with a cookie of its own."""
        from ui.visitor import new_cookie

        return [Watcher(self.address, self.experiment, new_cookie()) for _ in range(count)]

    def step(self) -> int:
        """How many steps were made."""
        with (self.folder / self.experiment / "events.jsonl").open("rb") as file:
            return sum(b'"Progress"' in line for line in file)


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used, without its children."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def main() -> None:
    """Start a server and a run, then measure for each number of watchers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    # Nobody comes last: evaluations grow rare as a run goes on, so that it is faster late than at its start.
    parser.add_argument("--watchers", default="1,10,30,100,0", help="comma list of how many, in turn")
    parser.add_argument("--page", choices=PAGES, default=PAGES[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--vote", action="store_true", help="have each class vote as well")
    options = parser.parse_args()
    folder, port = Path(tempfile.mkdtemp()), 8731
    os.environ["IWAE_SECRET"] = secrets.token_hex(16)  # cookies of the watchers are made here
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    environment = os.environ | {"IWAE_RUNS_DIR": str(folder)}
    server = subprocess.Popen([*command, "--server.address=127.0.0.1"], cwd=ROOT, env=environment)
    address = f"127.0.0.1:{port}"
    try:
        _wait(f"http://{address}/_stcore/health")
        from ui.visitor import new_cookie

        owner = new_cookie()
        room = Room(address, folder, server.pid, await _train(address, folder, options.k, LIGHT, owner), owner)
        for watchers in map(int, options.watchers.split(",")):
            figures: dict[str, float] = await room.measure(options.page, watchers, options.seconds)
            if options.vote and watchers:
                figures |= await room.vote(watchers)
            print(json.dumps({name: round(value, 3) for name, value in figures.items()}), flush=True)
    finally:
        server.terminate()
        server.wait()


async def _train(address: str, folder: Path, k: int, more: str = "", cookie: str = "") -> str:
    """Press Train as a visitor would."""
    async with laboratory(address, cookie) as socket:
        session, query = Session(socket), f"k={k}&steps=1000000{more}"
        await session.draw(query)
        await session.draw(query, "Train")
        while not list(folder.glob("*/events.jsonl")):
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
    return next(folder.glob("*/events.jsonl")).parent.name


def _wait(url: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
