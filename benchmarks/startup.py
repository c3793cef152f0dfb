"""How long a visitor waits and what it takes: `python -m benchmarks.startup [REPEATS]`.

Imports, server start to health, to the first chart in a browser, and the memory of server and worker; medians.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
IMPORTS = ("torch", "streamlit", "plotly.graph_objects", "iwae_core.training.loop", "ui.pages.laboratory")
CHART = ".js-plotly-plot .scatterlayer .trace"  # a line that is drawn, not an empty frame


def main(repeats: int = 3) -> None:
    """Print one JSON object."""
    measured = [once() for _ in range(repeats)]
    print(json.dumps({name: round(median(each[name] for each in measured), 3) for name in measured[0]}, indent=1))


def once() -> dict[str, float]:
    """Everything one time; without playwright or a browser no chart."""
    nothing = processor_seconds("pass")
    result = {f"import {name}, processor seconds": processor_seconds(f"import {name}") - nothing for name in IMPORTS}
    with TemporaryDirectory() as runs, server(runs) as (process, url, begun):
        while not healthy(url):
            if process.poll() is not None:
                raise SystemExit(f"the server has ended with exit code {process.returncode}")
            time.sleep(0.01)
        result["server start to health, seconds"] = time.monotonic() - begun
        result["server before the first visit, MB"] = settled(process.pid)
        result |= visit(url)
        result["server after it, MB"] = settled(process.pid)
        workers = children(process.pid)
        if workers:
            result["spare worker, MB"] = settled(workers[0])
    return result


def processor_seconds(code: str) -> float:
    """Of a Python process that runs this; a busy machine lengthens them least."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


@contextmanager
def server(runs: str) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """The page's server on a free port, its address, and when it was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--server.port={port}", "--server.address=127.0.0.1"]
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", *options],
        cwd=ROOT,
        env=os.environ | {"IWAE_RUNS_DIR": runs},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}", begun
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def healthy(url: str) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def visit(url: str) -> dict[str, float]:
    """A first visitor and a second one, each with an empty cache, from navigation to the first drawn line."""
    try:
        open_browser = import_module("tools.browser").open_browser
    except ModuleNotFoundError:
        return {}
    waits = []
    with open_browser() as browser:
        for _ in range(2):
            page = browser.new_page()
            begun = time.monotonic()
            page.goto(url)
            page.locator(CHART).first.wait_for(state="attached", timeout=60_000)
            waits.append(time.monotonic() - begun)
            page.close()
    return {"first visit to first chart, seconds": waits[0], "second visit, seconds": waits[1]}


def settled(pid: int) -> float:
    """Megabytes resident, once they stay the same; imports may still be going on."""
    now, before = resident(pid), 0.0
    while abs(now - before) > 1:
        time.sleep(1.5)
        now, before = resident(pid), now
    return now


def resident(pid: int) -> float:
    """Megabytes resident now (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def children(pid: int) -> list[int]:
    """Processes started by this one (Linux)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
