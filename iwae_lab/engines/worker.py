"""A worker process: `python -m iwae_lab.engines.worker`, driven by lines on its standard input.

A line that is a JSON object names the folder of a run, commands to obey at once and the memory it may take; each
further line is a command, until that run is over and another may follow. Getting ready (torch, data, a rehearsal) comes
before the first line, so a worker started in advance begins at once. When the input ends, its parent is gone, however
it died: the worker then ends itself, in the middle of a step if need be.
"""

import contextlib
import errno
import gc
import json
import math
import os
import resource
import sys
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from iwae_core.data import DataError
from iwae_core.training.events import Failed
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines.protocol import BEAT, DISK_FULL, READY
from iwae_lab.engines.runner import run

# Loads the data, and makes torch load and set up what it only does at the first step (over a second).
REHEARSAL = ExperimentSpec(runs=(RunSpec("iwae", 2),), batch_size=2, steps=1, eval_images=2, eval_k=1)
BEAT_SECONDS = 1.0


def main() -> None:
    """Get ready, and train one run after the other until one fails: then the process may not be what it was."""
    lines: SimpleQueue[str] = SimpleQueue()
    beats = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is for the server's log
    for target, argument in (_beat, beats), (_listen, lines):
        threading.Thread(target=target, args=(argument,), daemon=True).start()
    os.nice(5)  # the page comes first
    prepare_process()
    with contextlib.suppress(DataError):  # the run itself will report it
        deque(train(REHEARSAL), maxlen=0)
    while _train(json.loads(_next_order(lines)), lines):
        gc.collect()
        os.write(beats, READY)


def _next_order(lines: SimpleQueue[str]) -> str:
    """The next order; commands that came too late for a run that was just over are dropped."""
    while not (line := lines.get()).startswith("{"):
        pass
    return line


def _train(order: dict[str, Any], lines: SimpleQueue[str]) -> bool:
    """Train one run; whether all went well."""
    first = deque[str](order["commands"])
    limit = int(order["memory_mb"] * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))  # torch is refused more, and says so

    def receive(wait: float) -> str | None:
        if first:
            return first.popleft()
        try:
            return lines.get(wait > 0, None if wait == math.inf else wait)
        except Empty:
            return None

    try:
        events = deque(run(Path(order["folder"]), receive), maxlen=1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os._exit(DISK_FULL)
    return not any(record and isinstance(record.event, Failed) for record in events)


def _listen(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line.strip())
    os._exit(0)


def _beat(output: int) -> None:
    """A process that hangs, or is stopped, falls silent; one that is busy does not: torch computes without the lock."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            os.write(output, BEAT)
            time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main()
