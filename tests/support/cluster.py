"""A cluster of real processes on this machine: a scheduler, and "machines" that can be cut off."""

import atexit
import math
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from distributed import Client

from iwae_lab.engines.cluster.messages import Drop
from iwae_lab.engines.cluster.site import site
from tests.support.running import exists, wait_until
from tools.cluster import dask


def address() -> str:
    """One of this machine where nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{found.getsockname()[1]}"


def family(pid: int) -> Iterator[int]:
    """A process and all that it has started, and those have started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from family(int(child))


class Machine:
    """A worker of so many threads, with everything it starts."""

    def __init__(self, scheduler: str, **environment: str) -> None:
        self._folder = TemporaryDirectory()
        self.address = address()
        self.process = dask(
            "worker", scheduler, "--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny",
            "--local-directory", self._folder.name, "--worker-port", self.address.rpartition(":")[2], **environment,
        )  # fmt: skip

    @property
    def folder(self) -> Path:
        """Where it keeps its runs."""
        return next(path for path in Path(self._folder.name).glob("*/worker-*") if path.is_dir())

    def cut_off(self) -> None:
        """Neither answers nor ends from now on."""
        for pid in family(self.process.pid):
            os.kill(pid, signal.SIGSTOP)

    def come_back(self) -> None:
        for pid in family(self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        everything = list(family(self.process.pid))
        for pid in everything:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(map(exists, everything)))
        self._folder.cleanup()


class Machines:
    """A scheduler and its workers."""

    def __init__(self, workers: int, **environment: str) -> None:
        self.address = address()
        self.environment = environment
        self.scheduler = self.begin()
        self.workers = [self.join() for _ in range(workers)]

    def begin(self) -> subprocess.Popen[bytes]:
        self.scheduler = dask(
            "scheduler", "--host", "127.0.0.1", "--port", self.address.rpartition(":")[2], "--no-dashboard"
        )
        return self.scheduler

    def join(self) -> Machine:
        return Machine(self.address, **self.environment)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.scheduler.kill()
        self.scheduler.wait()


def vacate(scheduler: str) -> None:
    """End what goes on on a cluster without any server."""
    with Client(scheduler, set_as_default=False) as client:
        wait_until(lambda: not any(client.run(_drop_all).values()))


def _drop_all(dask_worker: Any) -> int:
    here = site(dask_worker)
    return len(here.answer([Drop(*key) for key in list(here._guests)], math.inf).guests)


SHARED: list[Machines] = []


def shared() -> Machines:
    """The one that tests share which do it no harm: two workers."""
    if not SHARED:
        SHARED.append(Machines(2))
        atexit.register(SHARED[0].close)
    return SHARED[0]
