"""A server as it is shipped, in a process of its own, and what it uses: for the commands that put it to the test."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.classroom import ROOT, _wait


@contextmanager
def served(folder: Path, port: int, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that keeps its runs in this folder; it has ended afterwards.

    Raises:
        OSError: something else has the port, and would be put to the test instead.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    environment = os.environ | {"IWAE_RUNS_DIR": str(folder)} | settings
    server = subprocess.Popen([*command, "--server.address=127.0.0.1"], cwd=ROOT, env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/_stcore/health")
        yield server
    finally:
        server.terminate()
        server.wait()


@contextmanager
def besieged(address: str, kinds: Sequence[str], run: str, each: int) -> Iterator[None]:
    """So many hostile clients of each kind are about, in a process of their own; none without a kind."""
    if not kinds:
        yield
        return
    host, port = address.split(":")
    command = [sys.executable, "-m", "tools.hostile", ",".join(kinds), host, port, run, str(each)]
    attack = subprocess.Popen(command, cwd=ROOT)
    try:
        yield
    finally:
        attack.kill()
        attack.wait()


def seconds_used(pid: int) -> float:
    """Seconds of processor time that a process has used, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """MB that it has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(pid: int) -> list[int]:
    """Processes of this one that live."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
