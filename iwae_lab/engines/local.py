"""The app's backend: one worker process for each experiment, so training never blocks the page."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL, Signals

from iwae_lab.engines.backend import BACKENDS, Backend, Death
from iwae_lab.engines.process import Worker
from iwae_lab.engines.protocol import DISK_FULL, Leave, Order, Stop
from iwae_lab.engines.settings import EngineLimits

RESPITE = 10.0  # seconds that a new experiment has the machine to itself before the next spare worker gets ready


@BACKENDS.register("local", label="worker processes on this machine")
class WorkerProcesses(Backend):
    """Worker processes on this machine; one trains several experiments in turn, and a spare one is kept ready.

    A spare worker has torch and the data in memory, so an experiment starts in milliseconds instead of seconds. The
    first is started in advance, the next some seconds after the last one was taken.
    """

    def __init__(self, limits: EngineLimits, respite: float | None = None) -> None:
        self._limits = limits
        self._respite = respite
        self._workers: dict[str, Worker] = {}
        self._spares = [Worker()]
        self._refill_at = math.inf

    def start(self, experiment_id: str, folder: Path, orders: Sequence[Order]) -> None:
        """Hand the experiment to a spare worker, or to a new one."""
        while self._spares and not self._spares[-1].alive:
            self._spares.pop().close()
        worker = self._spares.pop() if self._spares else Worker()
        worker.begin(folder.resolve(), orders, self._limits.memory_mb)
        self._workers[experiment_id] = worker
        self._refill_at = time.monotonic() + (RESPITE if self._respite is None else self._respite)

    def send(self, experiment_id: str, order: Order) -> None:
        """Write the order to the worker's input; one that has not even begun to listen is ended instead of asked to."""
        if worker := self._workers.get(experiment_id):
            worker.listen()
            if isinstance(order, Leave | Stop) and not worker.awake:
                worker.kill()
            worker.write(order)

    def ended(self, experiment_id: str, at_once: bool = False) -> Death | None:
        """None while the worker is alive and busy with it; a worker that fell silent is killed."""
        worker = self._workers.get(experiment_id)
        if worker is None:
            return Death("its process is gone")
        self._listen(worker)
        if worker.alive and not worker.ready and not at_once:
            return None
        del self._workers[experiment_id]
        if worker.alive and worker.ready:
            self._spares.append(worker)
            return Death("its process gave it up")
        if worker.alive:
            worker.kill()
        worker.close()
        self._refill_at = time.monotonic()  # it has left the machine to the next one's preparation
        return self._cause(worker)

    def tend(self) -> None:
        """Keep exactly one spare worker."""
        for worker in self._spares:
            self._listen(worker)
        for worker in self._spares[:-1]:
            worker.close()
        del self._spares[:-1]
        if not self._spares and time.monotonic() >= self._refill_at:
            self._spares.append(Worker())

    def close(self) -> None:
        """Kill and bury every worker."""
        for worker in self._all():
            worker.process.kill()
        for worker in self._all():
            worker.close()
        self._workers, self._spares = {}, []

    def _listen(self, worker: Worker) -> None:
        worker.listen()
        if worker.silence > self._limits.hang and worker.alive:
            worker.kill()

    def _all(self) -> Iterator[Worker]:
        yield from self._workers.values()
        yield from self._spares

    def _cause(self, worker: Worker) -> Death:
        """Why a process has ended."""
        if worker.silence > self._limits.hang:
            return Death(f"its process did not answer for {self._limits.hang:g} seconds")
        match worker.process.returncode:
            case code if code == DISK_FULL:
                return Death("disk full: neither the run nor its end could be saved", final=True)
            case code if code == -SIGKILL:
                return Death("its process was killed, perhaps because the machine ran out of memory")
            case code if code < 0:
                return Death(f"its process crashed ({Signals(-code).name})")
            case code:
                return Death(f"its process ended with exit code {code}")
