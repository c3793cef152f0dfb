"""The app's engine: one worker process for each run, so training never blocks the page."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, cast

from iwae_core.engines.engine import ENGINES, Engine, EngineFullError

PACKAGE_PARENT = Path(__file__).parents[2]
RESPITE = 10.0  # seconds that a new run has the machine to itself before the next spare worker gets ready


class Worker:
    """A process waiting for its run, or training it."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C in the terminal ends the server, and the workers end when their input does.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iwae_core.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=PACKAGE_PARENT,
            start_new_session=True,
        )
        self._input = cast(IO[str], self.process.stdin)

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def write(self, line: str) -> None:
        """Hand the process one line; one that has just died needs none."""
        try:
            self._input.write(line + "\n")
            self._input.flush()
        except BrokenPipeError:
            self.process.wait()

    def close(self) -> None:
        """End the process, by force if it does not notice."""
        self._input.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@ENGINES.register("local", label="worker processes on this machine")
class LocalEngine(Engine):
    """Worker processes on this machine, with a spare one started in advance, again some seconds after each run begins.

    A spare worker has torch and the data in memory, so a run starts in milliseconds. (multiprocessing's fork server
    would re-execute the `__main__` of the moment, which under Streamlit is the page.)
    """

    def __init__(self, folder: Path, max_active: int | None = None) -> None:
        super().__init__(folder)
        self.max_active = max_active or max(1, os.cpu_count() or 1)
        self._workers: dict[str, Worker] = {}
        self._spare: Worker | None = Worker()
        self._closed = False

    def close(self) -> None:
        """End every worker; what they had logged stays."""
        with self._lock:
            for worker in (*self._workers.values(), self._spare):
                if worker:
                    worker.close()
            self._workers, self._spare, self._closed = {}, None, True

    def _admit(self) -> None:
        for run_id in [run_id for run_id, worker in self._workers.items() if not worker.alive]:
            self._workers.pop(run_id).close()
        active = len(self._workers)
        if active >= self.max_active:
            raise EngineFullError(
                f"{active} experiments are already training here, which is the limit; stop one, or wait for one to end"
            )

    def _start(self, run_id: str) -> None:
        if self._spare and not self._spare.alive:
            self._spare.close()
            self._spare = None
        worker = self._spare or Worker()
        worker.write(json.dumps(str((self.folder / run_id).resolve())))
        self._workers[run_id] = worker
        self._spare = None
        refill = threading.Timer(RESPITE, self._refill)
        refill.daemon = True
        refill.start()

    def _refill(self) -> None:
        with self._lock:
            if not self._closed and self._spare is None:
                self._spare = Worker()

    def _end(self, run_id: str) -> None:
        if worker := self._workers.pop(run_id, None):
            worker.close()

    def _alive(self, run_id: str) -> bool:
        worker = self._workers.get(run_id)
        return worker is not None and worker.alive

    def _send(self, run_id: str, command: str) -> None:
        if worker := self._workers.get(run_id):  # it may have ended a moment ago
            worker.write(command)
