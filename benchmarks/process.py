"""The processes that are measured, seen from the one that measures."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.comparisons import PEERS, Entry

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("worker.py")


class BenchError(Exception):
    """A contestant does not compute what it should, or has died; nothing is printed then."""


class Worker:
    """A process that runs one entry of a comparison."""

    def __init__(self, entry: Entry, cores: Sequence[int], peers: str, start: Path) -> None:
        self.entry = entry
        python = peers if entry.name in PEERS else sys.executable
        where = ",".join(map(str, cores))
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed on leaving)
        self._process = subprocess.Popen(
            [python, str(SCRIPT), str(entry.file), str(entry.batch), str(entry.k), where, str(start)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """The next line it says."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._complaints.seek(0)
            raise BenchError(f"{self.entry.name} has died: {self._complaints.read().strip()[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def steps(self, count: int) -> dict[str, float]:
        """Seconds a step, on average over `count`: of the clock, and of the processor."""
        if self._process.stdin:
            print(count, file=self._process.stdin, flush=True)
        return {clock: float(seconds) / count for clock, seconds in self.answer().items()}

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        # Its input ends, and so does its loop; what it is still doing is of no interest.
        self._process.kill()
        self._process.communicate()
        self._complaints.close()
