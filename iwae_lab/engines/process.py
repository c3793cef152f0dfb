"""A worker process as the engine sees it: orders go down, heartbeats come up. `worker` is the other end."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, cast

from iwae_lab.engines.protocol import READY, Begin, Message, Order, encode

PACKAGE_PARENT = Path(__file__).parents[2]
AWAKENING = 60.0  # seconds that a worker may take to its first heartbeat
# What a worker needs of the server's environment, in which there may be secrets.
DATA = ("IWAE_DATA_DIR", "IWAE_OMNIGLOT_DIR", "IWAE_FASHION_MNIST_DIR")
NEEDED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "IWAE_DEVICE", *DATA)
FAMILIES = ("LC_", "PYTHON", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "CUDA_", "NVIDIA_", "TORCH_", "PYTORCH_")
LONGEST_GAP = 1.0  # seconds between two looks that count: a server that was held up must not blame its workers


class Worker:
    """A process waiting for its experiment, or training it.

    multiprocessing's fork server would execute the `__main__` of the moment again, which under Streamlit is the page.
    """

    def __init__(self) -> None:
        # A session of its own: Ctrl-C in the terminal ends the server, and the workers end when their input does.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iwae_lab.engines.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=PACKAGE_PARENT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name in NEEDED or name.startswith(FAMILIES)},
        )
        self._input, self._output = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        os.set_blocking(self._output.fileno(), False)
        self._listened = time.monotonic()
        self.silence = -AWAKENING  # seconds since its last heartbeat
        self.awake = False  # has told something
        self.ready = False  # for another experiment

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def begin(self, folder: Path, orders: Sequence[Order], memory_mb: int) -> None:
        """Give it the experiment of a folder."""
        self.ready = False
        self.write(Begin(str(folder), memory_mb, [encode(order) for order in orders]))

    def write(self, message: Message) -> None:
        """Hand the process a message; one that has just died needs none."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write((encode(message) + "\n").encode())

    def listen(self) -> None:
        """Note what it has told since the last time."""
        now = time.monotonic()
        gap, self._listened = min(now - self._listened, LONGEST_GAP), now
        try:
            heard = os.read(self._output.fileno(), 65_536)
        except BlockingIOError:
            heard = b""
        self.awake = self.awake or bool(heard)
        self.silence = 0.0 if heard else self.silence + gap
        self.ready = self.ready or READY in heard

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process, by force if it does not notice."""
        self._input.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
        self._output.close()
