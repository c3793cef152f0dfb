"""`make faults`, after the stops: a hundred visitors open the page and press Train within the same second.

Prints how long their pages take to answer and how long the server's health does meanwhile, and checks that every
visitor has one run. Exit code 1 if a figure is missed.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.classroom import Session, laboratory
from iwae_lab.engines.folders import Folders
from tools.faults import health
from tools.server import memory, seconds_used, served

PORT = 8743
QUERY = "runs=iwae&k=1&batch_size=1&steps=1000000&eval_images=2&eval_k=1"
HEALTH, RERUN = 0.5, 1.0  # seconds: 99th and 95th percentile


async def visit(number: int, opened: asyncio.Barrier, opens: list[float], presses: list[float]) -> None:
    """Open the page, wait for the others, press Train, and see the page of the run."""
    async with laboratory(f"127.0.0.1:{PORT}", "") as socket:
        session = Session(socket)
        opens.append(await session.draw(QUERY))
        await opened.wait()
        await asyncio.sleep(secrets.randbelow(1000) / 1000)
        presses.append(await session.draw(QUERY, "Train"))


async def rush(visitors: int, folder: Path) -> dict[str, float]:
    """What so many get."""
    opened, opens, presses, times = asyncio.Barrier(visitors + 1), list[float](), list[float](), list[float]()
    with served(folder, PORT, IWAE_QUEUE=str(2 * visitors)) as server:
        await visit(-1, asyncio.Barrier(1), [], [])  # what the first visitor waits for is none of the others'
        crowd = [asyncio.create_task(visit(number, opened, opens, presses)) for number in range(visitors)]
        await opened.wait()
        asked = asyncio.create_task(health(f"127.0.0.1:{PORT}", times))
        before, began = memory(server.pid), time.monotonic()
        used = seconds_used(server.pid), time.process_time()
        await asyncio.gather(*crowd)
        seconds, after = time.monotonic() - began, memory(server.pid)
        took = seconds_used(server.pid) - used[0], time.process_time() - used[1]
        asked.cancel()
    folders = Folders(folder)
    owners = [folders.owner(experiment) for experiment, _ in folders.all()]
    return {
        "visitors": visitors,
        "runs": len(owners) - 1,
        "owners": len(set(owners)) - 1,
        "open_p95": percentile(opens, 0.95),
        "rerun_p50": percentile(presses, 0.5),
        "rerun_p95": percentile(presses, 0.95),
        "health_p99": percentile(times, 0.99),
        "all_answered": seconds,
        "server_processor": took[0],
        "visitors_processor": took[1],
        "memory_mb": after - before,
    }


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the others does not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


def main() -> int:
    """Let them come."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m tools.rush")
    parser.add_argument("--visitors", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(rush(options.visitors, Path(folder)))
    print({name: round(value, 2) for name, value in told.items()})
    one_each = told["runs"] == told["owners"] == options.visitors
    return 0 if one_each and told["health_p99"] < HEALTH and told["rerun_p95"] < RERUN else 1


if __name__ == "__main__":
    sys.exit(main())
