"""A class watches one trainer: `python -m benchmarks.classroom` measures what each of N watchers gets.

Every watcher is a real session of the page (Streamlit's own web socket and protocol) that also follows the live parts.
For each N it prints updates of the training curves per second and watcher, the time of a full page response, the
trainer's speed against its speed alone, and the server's memory.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict
from pathlib import Path

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

ROOT = Path(__file__).parents[1]
PARTS = ("status", "bounds", "curves", "times", "reading", "digits")  # what a page shows when it is opened


class Watcher:
    """One visitor: opens the page of a run, then watches, drawing nothing."""

    def __init__(self, address: str, experiment: str) -> None:
        self.address, self.experiment = address, experiment
        self.responses: list[float] = []
        self.updates = 0

    async def watch(self, seconds: float) -> None:
        """Open the page, follow its live parts, and open it anew every ten seconds, as a reader who clicks would."""
        live = asyncio.create_task(self._follow())
        end = time.monotonic() + seconds
        url = f"ws://{self.address}/_stcore/stream"
        async with connect(url, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
            while time.monotonic() < end:
                self.responses.append(await self._rerun(socket))
                await asyncio.sleep(10)
        live.cancel()

    async def _rerun(self, socket: object) -> float:
        message = BackMsg()
        message.rerun_script.query_string = f"run={self.experiment}&hide=controls"
        began = time.monotonic()
        await socket.send(message.SerializeToString())  # type: ignore[attr-defined]
        while True:
            answer = ForwardMsg.FromString(await socket.recv())  # type: ignore[attr-defined]
            if answer.WhichOneof("type") == "script_finished":
                return time.monotonic() - began

    async def _follow(self) -> None:
        looks = [json.dumps(_look(part, self.experiment), separators=(",", ":")) for part in PARTS]
        async with connect(f"ws://{self.address}/live", max_size=None) as socket:
            await socket.send(json.dumps(looks))
            async for message in socket:
                self.updates += json.loads(message)["key"] == looks[2]


def _look(part: str, experiment: str) -> dict[str, object]:
    from ui.live.scene import Look

    return asdict(Look(part, experiment))


async def measure(
    address: str, engine_folder: Path, experiment: str, watchers: int, seconds: float
) -> dict[str, float]:
    """Let so many watch for a while."""
    visitors = [Watcher(address, experiment) for _ in range(watchers)]
    before, began = _step(engine_folder, experiment), time.monotonic()
    await asyncio.gather(asyncio.sleep(seconds), *(visitor.watch(seconds) for visitor in visitors))
    elapsed = time.monotonic() - began
    responses = sorted(response for visitor in visitors for response in visitor.responses)
    return {
        "watchers": watchers,
        "updates_per_second": statistics.median(visitor.updates for visitor in visitors) / elapsed if visitors else 0.0,
        "response_p50": statistics.median(responses) if responses else 0.0,
        "response_p95": responses[int(0.95 * (len(responses) - 1))] if responses else 0.0,
        "steps_per_second": (_step(engine_folder, experiment) - before) / elapsed,
    }


def _step(folder: Path, experiment: str) -> int:
    with (folder / experiment / "events.jsonl").open("rb") as file:
        return sum(b'"Progress"' in line for line in file)


def _memory(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def main() -> None:
    """Start a server and a run, then measure for each number of watchers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", default="0,1,10,30,100")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--k", type=int, default=5)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    port = 8731
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    environment = os.environ | {"IWAE_RUNS_DIR": str(folder)}
    server = subprocess.Popen([*command, "--server.address=127.0.0.1"], cwd=ROOT, env=environment)
    address = f"127.0.0.1:{port}"
    try:
        _wait(f"http://{address}/_stcore/health")
        experiment = await _train(address, folder, options.k)
        for watchers in map(int, options.watchers.split(",")):
            figures = await measure(address, folder, experiment, watchers, options.seconds)
            print(
                json.dumps(
                    {name: round(value, 3) for name, value in figures.items()}
                    | {"server_mb": round(_memory(server.pid))}
                ),
                flush=True,
            )
    finally:
        server.terminate()
        server.wait()


async def _train(address: str, folder: Path, k: int, more: str = "") -> str:
    """Press Train as a visitor would, by the page's own protocol."""
    url = f"ws://{address}/_stcore/stream"
    async with connect(url, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
        message = BackMsg()
        message.rerun_script.query_string = f"k={k}&steps=1000000{more}"
        await socket.send(message.SerializeToString())
        button = ""
        while True:
            answer = ForwardMsg.FromString(await socket.recv())
            element = answer.delta.new_element
            if element.WhichOneof("type") == "button" and element.button.label == "Train":
                button = element.button.id
            if answer.WhichOneof("type") == "script_finished":
                break
        state = message.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = button, True
        await socket.send(message.SerializeToString())
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
