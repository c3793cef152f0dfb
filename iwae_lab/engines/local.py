"""The app's engine: one worker process for each run, so training never blocks the page."""

import atexit
import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL, Signals
from typing import IO, Any, cast

from iwae_lab.engines.engine import ENGINES, Engine
from iwae_lab.engines.protocol import DISK_FULL, READY
from iwae_lab.engines.settings import EngineLimits
from iwae_lab.engines.supervisor import Death

LOGGER = logging.getLogger(__name__)
PACKAGE_PARENT = Path(__file__).parents[2]
RESPITE = 10.0  # seconds that a new run has the machine to itself before the next spare worker gets ready
AWAKENING = 60.0  # seconds that a worker may take to its first heartbeat


class Worker:
    """A process waiting for its run, or training it."""

    def __init__(self) -> None:
        # A session of its own: Ctrl-C in the terminal ends the server, and the workers end when their input does.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iwae_lab.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=PACKAGE_PARENT,
            start_new_session=True,
        )
        self._input, self._output = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        os.set_blocking(self._output.fileno(), False)
        self.silence = -AWAKENING  # seconds since its last heartbeat
        self.ready = False  # for another run

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def begin(self, order: dict[str, Any]) -> None:
        """Give it a run."""
        self.ready = False
        self.write(json.dumps(order))

    def write(self, line: str) -> None:
        """Hand the process one line; one that has just died needs none."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write((line + "\n").encode())

    def listen(self, seconds: float) -> None:
        """Note what it has told during the last so many seconds."""
        try:
            heard = os.read(self._output.fileno(), 65_536)
        except BlockingIOError:
            heard = b""
        self.silence = 0.0 if heard else self.silence + seconds
        self.ready = self.ready or READY in heard

    def close(self) -> None:
        """End the process, by force if it does not notice."""
        self._input.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()


@ENGINES.register("local", label="worker processes on this machine")
class LocalEngine(Engine):
    """Worker processes on this machine; one trains several runs in turn, and a spare one is kept ready.

    A spare worker has torch and the data in memory, so a run starts in milliseconds instead of seconds. The first is
    started in advance, the next some seconds after the last one was taken. (multiprocessing's fork server would
    re-execute the `__main__` of the moment, which under Streamlit is the page.)
    """

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        super().__init__(folder, limits)
        self._workers: dict[str, Worker] = {}
        self._spares = [Worker()]
        self._refill_at = math.inf
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Have every run saved, within `farewell` seconds for all of them, and end every worker."""
        atexit.unregister(self.close)
        self._closing.set()
        self._supervisor.join()
        with self._lock:
            for worker in self._workers.values():
                worker.write("leave")
            until = time.monotonic() + self.limits.farewell
            while any(worker.alive for worker in self._workers.values()) and time.monotonic() < until:
                time.sleep(0.01)
            for worker in self._all():
                worker.process.kill()
                worker.close()
            self._workers, self._spares = {}, []
            for job in self._jobs:
                self._jobs.remove(job)

    def _supervise(self) -> None:
        last = time.monotonic()
        while not self._closing.wait(self.limits.tick):
            now = time.monotonic()
            try:
                # A server that was itself held up for long must not blame its workers.
                self._listen(min(now - last, 2 * self.limits.tick))
                self.tend()
                self._keep_one_spare()
            except Exception:
                LOGGER.exception("looking after the runs failed; trying again")
            last = now

    def _listen(self, seconds: float) -> None:
        with self._lock:
            for worker in self._all():
                worker.listen(seconds)
                if worker.silence > self.limits.hang and worker.alive:
                    worker.process.kill()

    def _keep_one_spare(self) -> None:
        with self._lock:
            for worker in self._spares[:-1]:
                worker.close()
            del self._spares[:-1]
            if not self._spares and time.monotonic() >= self._refill_at:
                self._spares.append(Worker())

    def _all(self) -> Iterator[Worker]:
        yield from self._workers.values()
        yield from self._spares

    def _look(self, run_id: str) -> None:
        """The workers go on by themselves."""

    def _start(self, run_id: str, commands: Sequence[str]) -> None:
        if self._closing.is_set():
            raise OSError("this engine is closed")
        while self._spares and not self._spares[-1].alive:
            self._spares.pop().close()
        worker = self._spares.pop() if self._spares else Worker()
        folder = str((self.folder / run_id).resolve())
        worker.begin({"folder": folder, "commands": list(commands), "memory_mb": self.limits.memory_mb})
        self._workers[run_id] = worker
        self._refill_at = time.monotonic() + RESPITE

    def _send(self, run_id: str, command: str) -> None:
        if worker := self._workers.get(run_id):  # it may have ended a moment ago
            worker.write(command)

    def _alive(self, run_id: str) -> bool:
        worker = self._workers.get(run_id)
        return worker is not None and worker.alive and not worker.ready

    def _end(self, run_id: str) -> Death:
        worker = self._workers.pop(run_id, None)
        if worker is None:
            return Death("its process is gone")
        if worker.ready and worker.alive:
            self._spares.append(worker)
            return Death("its process gave it up")
        worker.close()
        code, silent = worker.process.returncode, worker.silence > self.limits.hang
        if silent:
            return Death(f"its process did not answer for {self.limits.hang:g} seconds")
        if code == DISK_FULL:
            return Death("disk full: neither the run nor its end could be saved", final=True)
        if code == -SIGKILL:
            return Death("its process was killed, perhaps because the machine ran out of memory")
        if code < 0:
            return Death(f"its process crashed ({Signals(-code).name})")
        return Death(f"its process ended with exit code {code}")
