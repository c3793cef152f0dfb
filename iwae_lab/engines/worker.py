"""A worker process: `python -m iwae_lab.engines.worker`, driven by lines on its standard input.

A first line names the folder of an experiment, orders to obey at once and the memory it may take; each further line is
an order, until that experiment is over and another may follow. Getting ready (torch, data, a rehearsal) comes
before the first line, so a worker started in advance begins at once. When the input ends, its parent is gone, however
it died: the worker then ends itself, in the middle of a step if need be.
"""

import contextlib
import errno
import gc
import math
import os
import resource
import sys
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue

from iwae_core.data import DataError
from iwae_core.training.events import Failed
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines.protocol import BEAT, DISK_FULL, READY, Begin, Message, Order, decode
from iwae_lab.engines.runner import run

# Loads the data, and makes torch load and set up what it only does at the first step (over a second).
REHEARSAL = ExperimentSpec(runs=(RunSpec("iwae", 2),), batch_size=2, steps=1, eval_images=2, eval_k=1)
BEAT_SECONDS = 1.0


def main() -> None:
    """Get ready, and train one experiment after the other until one fails: then the process may not be what it was."""
    messages: SimpleQueue[Message] = SimpleQueue()
    beats = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is for the server's log
    for target, argument in (_beat, beats), (_listen, messages):
        threading.Thread(target=target, args=(argument,), daemon=True).start()
    os.nice(5)  # the page comes first
    prepare_process()
    with contextlib.suppress(DataError):  # the experiment itself will report it
        deque(train(REHEARSAL), maxlen=0)
    while _train(_assignment(messages), messages):
        gc.collect()
        os.write(beats, READY)


def _assignment(messages: SimpleQueue[Message]) -> Begin:
    """The next one; orders that came too late for an experiment that was just over are dropped."""
    while not isinstance(message := messages.get(), Begin):
        pass
    return message


def _train(assignment: Begin, messages: SimpleQueue[Message]) -> bool:
    """Train one experiment; whether all went well."""
    first = deque(map(decode, assignment.orders))
    limit = int(assignment.memory_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))  # torch is refused more, and says so

    def receive(wait: float) -> Order | None:
        try:
            message = first.popleft() if first else messages.get(wait > 0, None if wait == math.inf else wait)
        except Empty:
            return None
        return None if isinstance(message, Begin) else message

    try:
        events = deque(run(Path(assignment.folder), receive), maxlen=1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os._exit(DISK_FULL)
    return not any(record and isinstance(record.event, Failed) for record in events)


def _listen(messages: SimpleQueue[Message]) -> None:
    for line in sys.stdin:
        messages.put(decode(line))
    os._exit(0)


def _beat(output: int) -> None:
    """A process that hangs, or is stopped, falls silent; one that is busy does not: torch computes without the lock."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            os.write(output, BEAT)
            time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main()
