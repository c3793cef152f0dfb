"""A cluster on this machine, a process for its scheduler and one for each worker: for the commands that test it."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.browser import ROOT
from tools.server import children

PORT = 8745


class Cluster:
    """A scheduler and so many workers of one thread each."""

    address = f"tcp://127.0.0.1:{PORT}"

    def __init__(self, workers: int, folder: Path) -> None:
        self._folder = folder
        self._scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard")
        self.workers = [self._worker() for _ in range(workers)]

    def kill(self) -> None:
        """End a worker on the spot, and have another come in its place, or end what trains beside one."""
        number = random.randrange(len(self.workers))
        worker = self.workers[number]
        if (training := children(worker.pid)) and random.random() < 0.5:
            os.kill(training[0], signal.SIGKILL)
            return
        worker.kill()
        worker.wait()
        self.workers[number] = self._worker()

    def processes(self) -> list[int]:
        """All that workers have started."""
        return [pid for worker in self.workers for pid in children(worker.pid)]

    def close(self) -> None:
        """End everything."""
        for process in [*self.workers, self._scheduler]:
            process.kill()
            process.wait()

    def _worker(self) -> subprocess.Popen[bytes]:
        options = "--nthreads", "1", "--memory-limit", "0", "--no-dashboard", "--no-nanny"
        return dask("worker", self.address, *options, "--local-directory", str(self._folder))


def dask(kind: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a scheduler or a worker, as its command does. With `CLUSTER_LOG` set it may say what it wants to."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
    quiet = None if os.environ.get("CLUSTER_LOG") else subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=quiet)


@contextmanager
def clustered(workers: int) -> Iterator[Cluster | None]:
    """One of so many workers; none without any."""
    if not workers:
        yield None
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # what trained beside one may still be saving
        cluster = Cluster(workers, Path(folder))
        try:
            yield cluster
        finally:
            cluster.close()
