"""`make faults`: a hostile day in minutes. Prints what a hundred hostile clients of each kind cost those who watch.

A server as it is shipped trains one experiment that ten visitors watch; then each kind of client in `tools.hostile`
comes a hundred times, alone and in the end all together. Figures are those of the visitors and of the server.
"""

import argparse
import asyncio
import http.client
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.classroom import PARTS, _key, _look, _train
from tools.hostile import KINDS
from tools.server import besieged, memory, served

PORT, VIEWERS = 8741, 10


@dataclass
class Viewer:
    """Somebody who watches the run, and counts how often its curves grow."""

    address: str
    run: str
    updates: list[float] = field(default_factory=list)

    async def follow(self) -> None:
        """Watch for good."""
        looks = [json.dumps(_look(part, self.run), separators=(",", ":")) for part in PARTS]
        async for socket in connect(f"ws://{self.address}/live", max_size=None):
            with suppress(ConnectionClosed):  # as a page does, begin again
                await socket.send(json.dumps(looks))
                async for message in socket:
                    if _key(message) == looks[2]:
                        self.updates.append(time.monotonic())


async def health(address: str, times: list[float]) -> None:
    """Ask for the server's health ten times a second."""
    while True:
        begun = time.monotonic()
        await asyncio.to_thread(_ask, address)
        times.append(time.monotonic() - begun)
        await asyncio.sleep(0.1)


def _ask(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/_stcore/health")
    connection.getresponse().read()
    connection.close()


def processor(pid: int) -> list[float]:
    """Seconds that the server's main thread has had a processor, and has waited for one that others had."""
    return [int(number) / 1e9 for number in Path(f"/proc/{pid}/schedstat").read_text().split()[:2]]


async def measure(kinds: list[str], each: int, address: str, run: str, pid: int, seconds: float) -> dict[str, object]:
    """What the viewers get while these clients are there."""
    viewers, times, before = [Viewer(address, run) for _ in range(VIEWERS)], [], memory(pid)
    tasks = [asyncio.create_task(viewer.follow()) for viewer in viewers]
    with besieged(address, kinds, run, each):
        await asyncio.sleep(5)
        began, peak, used = time.monotonic(), 0.0, processor(pid)
        tasks.append(asyncio.create_task(health(address, times)))
        while (now := time.monotonic()) - began < seconds:
            peak = max(peak, memory(pid))
            await asyncio.sleep(0.2)
        used = [(after - earlier) / (now - began) for after, earlier in zip(processor(pid), used, strict=True)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rates = [sum(began < at < now for at in viewer.updates) / (now - began) for viewer in viewers]
    return {
        "clients": " ".join(kinds) if len(kinds) < 2 else "all together",
        "updates/s": f"{median(rates):.2f} ({min(rates):.2f})",
        "health p99": f"{sorted(times)[int(0.99 * (len(times) - 1))]:.2f} s",
        "memory": f"{before:.0f} MB, +{peak - before:.0f}",
        "processor": f"{used[0]:.2f}, waited {used[1]:.2f}",
        "open files": len(os.listdir(f"/proc/{pid}/fd")),
    }


async def main() -> None:
    """Start a server and a run, then let the clients come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*KINDS, ",".join(KINDS)])
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    address = f"127.0.0.1:{PORT}"
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), PORT) as server:
        run = await _train(address, Path(folder), 5, "&batch_size=5")
        for kinds in ("", *options.kinds, ""):
            asked = kinds.split(",") if kinds else []
            print(await measure(asked, options.each, address, run, server.pid, options.seconds), flush=True)
    print("exit code", server.returncode)


if __name__ == "__main__":
    asyncio.run(main())
