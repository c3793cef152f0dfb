"""A worker process: `python -m iwae_lab.engines.worker`, driven by lines on its standard input.

A first line names the folder of an experiment, orders to obey at once and the memory it may take; each further line is
an order, until that experiment is over and another may follow. Getting ready (torch, data, a rehearsal) comes
before the first line, so a worker started in advance begins at once. When the input ends, its parent is gone, however
it died: the worker then saves what it can within a moment, and ends itself.
"""

import contextlib
import errno
import gc
import math
import os
import resource
import signal
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
from iwae_lab.engines.protocol import BEAT, DISK_FULL, READY, Begin, Leave, Message, Order, Stop, decode
from iwae_lab.engines.runner import run

# Loads the data, and makes torch load and set up what it only does at the first step (over a second).
REHEARSAL = ExperimentSpec(runs=(RunSpec("iwae", 2),), batch_size=2, steps=1, eval_images=2, eval_k=1)
BEAT_SECONDS = 1.0
NICE = 5
COURTESY = 0.25  # seconds that an order to end waits for the step in hand
LAST_WORDS = 0.8  # seconds to save the state once the parent is gone, or has asked this process to end


class Inbox:
    """What has been said to this process. One thread listens, another obeys."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._first: deque[Order] = deque()
        self._urgent_since = math.inf
        self._assigned = self._training = False
        self.ending = False  # no further experiment

    def listen(self) -> None:
        """Take lines until the input ends."""
        for line in sys.stdin:
            self._take(decode(line))
        self.dismiss()

    def _take(self, message: Message) -> None:
        if isinstance(message, Begin):
            self._assigned, self._urgent_since = True, math.inf
        self._messages.put(message)
        if isinstance(message, Leave | Stop):
            if self._assigned and not self._training:
                os._exit(0)  # nothing has been begun
            self._urgent_since = time.monotonic()

    def dismiss(self, *_: object) -> None:
        """End this process in a moment, or at once if it trains nothing."""
        self.ending = True
        self._take(Leave())
        self._urgent_since = -math.inf
        if not self._training:
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS)  # whose signal ends the process

    def assignment(self) -> Begin:
        """The next one; orders that came too late for an experiment that was just over are dropped."""
        while not isinstance(message := self._messages.get(), Begin):
            pass
        self._training = True
        self._first.extend(map(decode, message.orders))  # type: ignore[arg-type]
        return message

    def receive(self, wait: float) -> Order | None:
        """The next order, see `Receive`."""
        if self._first:
            return self._first.popleft()
        try:
            message = self._messages.get(wait > 0, None if wait == math.inf else wait)
        except Empty:
            return None
        return None if isinstance(message, Begin) else message

    def give_up(self) -> bool:
        """Whether the step in hand is to be given up; this process is then of no further use."""
        if time.monotonic() - self._urgent_since < COURTESY:
            return False
        self.ending = True
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # saving takes some
        _yield_to_this_thread()
        return True

    def over(self) -> None:
        """The experiment has come to its end."""
        self._training = self._assigned = False


def main() -> None:
    """Get ready, and train one experiment after the other until one fails: then the process may not be what it was."""
    inbox = Inbox()
    beats = os.dup(1)
    os.dup2(2, 1)  # whatever else is printed is for the server's log
    signal.signal(signal.SIGTERM, inbox.dismiss)
    threading.Thread(target=_beat, args=(beats,), daemon=True).start()
    threading.Thread(target=inbox.listen, daemon=True).start()
    give_way()
    prepare_process()
    with contextlib.suppress(DataError):  # the experiment itself will report it
        deque(train(REHEARSAL), maxlen=0)
    while _train(inbox) and not inbox.ending:
        inbox.over()
        gc.collect()
        os.write(beats, READY)
    os._exit(0)  # without waiting for a step that was given up


def give_way() -> None:
    """Let the page come first."""
    os.nice(NICE)
    # Where Linux shares a processor among sessions first, niceness counts within one, and a worker is one of its own.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def _train(inbox: Inbox) -> bool:
    """Train one experiment; whether all went well."""
    assignment = inbox.assignment()
    limit = int(assignment.memory_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))  # torch is refused more, and says so
    try:
        events = deque(run(Path(assignment.folder), inbox.receive, inbox.give_up), maxlen=1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os._exit(DISK_FULL)
    return not any(record and isinstance(record.event, Failed) for record in events)


def _yield_to_this_thread() -> None:
    """Have the others, which compute what is no longer wanted, leave the processor to the one that saves the state."""
    with contextlib.suppress(OSError):  # only Linux has priorities of threads
        for thread in map(int, os.listdir("/proc/self/task")):
            if thread != threading.get_native_id():
                os.setpriority(os.PRIO_PROCESS, thread, 19)


def _beat(output: int) -> None:
    """A process that hangs, or is stopped, falls silent; one that is busy does not: torch computes without the lock."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            os.write(output, BEAT)
            time.sleep(BEAT_SECONDS)


if __name__ == "__main__":
    main()
