"""Iterates one experiment in the current process, obeys orders between two steps, and keeps the folder."""

import errno
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from iwae_core.data import DataError
from iwae_core.training.closeup import Before
from iwae_core.training.events import Closeup, Event, Failed, Finished, Progress, Record
from iwae_core.training.loop import Experiment, GivenUpError
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines.protocol import Checkpoint, Leave, Order, Pause, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC, restore, saved
from iwae_lab.records.log import EventLog

# Called with the seconds to wait for an order if there is none yet: 0 only looks, infinity waits for ever.
Receive: TypeAlias = Callable[[float], Order | None]

# Seconds of training before a process's first checkpoint; each further one comes after as long again as the process has
# trained, and a minute at most. So one that is killed loses half of its work at most, and the next always gets on.
SAVE_FIRST, SAVE_EVERY = 5.0, 60.0
# What torch and the C++ library say when they are refused memory.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate", "can't start new thread")
SLOW = 6.0  # seconds from one step to the next in slow motion: enough to read what the step did


class Clock:
    """Seconds of training, standing still while nobody iterates; monotonic, so a change of system time does no harm."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._start = time.monotonic() - seconds

    def seconds(self) -> float:
        """Since the start, pauses excluded."""
        return time.monotonic() - self._start

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time spent inside does not count."""
        began = time.monotonic()
        yield
        self._start += time.monotonic() - began


def run(
    folder: Path, receive: Receive = lambda wait: None, give_up: Callable[[], bool] = lambda: False
) -> Generator[Record | None, None, None]:
    """Train the experiment of a folder, from its last saved state if there is one.

    Writes every event to the log, and a checkpoint now and then and at the end. Yields each record after it is written,
    and None while it is held and `receive` has no order. An error of the training becomes a `Failed` event.

    `give_up` says whether `receive` has a `Stop` or `Leave` that cannot wait for the step or evaluation in hand. As if
    that had never begun, it is abandoned; what it was computing goes on until the process ends.

    Raises:
        CheckpointError: as `saved`.
        LogError: as `EventLog`.
        OSError: the disk is too full even for that event.
    """
    state = saved(folder)
    clock, step = (Clock(state["seconds"]), state["step"]) if state else (Clock(), 0)
    with EventLog(folder / LOG, state["events"] if state else 0) as log:
        try:
            for event in _Session(folder, state, log, clock, receive, give_up).events():
                step = getattr(event, "step", step)
                record = log.append(event, clock.seconds()) if event else None
                with clock.stopped():
                    yield record
        except (CheckpointError, DataError, OSError, MemoryError, RuntimeError) as error:
            yield log.append(Failed(step, explained(error)), clock.seconds())


class _Session:
    """An experiment under control: held or not, and saved when it is time."""

    def __init__(
        self,
        folder: Path,
        state: dict[str, Any] | None,
        log: EventLog,
        clock: Clock,
        receive: Receive,
        give_up: Callable[[], bool],
    ) -> None:
        self._path, self._log, self._clock, self._receive = folder / CHECKPOINT, log, clock, receive
        spec = ExperimentSpec.from_json((folder / SPEC).read_text())
        self._experiment = Experiment(spec, give_up=give_up)
        if state:
            restore(self._experiment, state)
        self._began = clock.seconds()
        self._save_at = self._began + SAVE_FIRST
        self._paused = self._slow = self._over = False
        self._look: Before | None = None  # before the step to be made, if it is to be shown

    def events(self) -> Iterator[Event | None]:
        """The experiment's events and those of orders; None when held without an order."""
        try:
            yield from self._story()
        except GivenUpError:
            self._paused = True
            while not self._over:  # the order that could not wait is among the next
                yield from self._obey()

    def _story(self) -> Iterator[Event | None]:
        if self._experiment.between_steps:  # resumed
            yield from self._before_step()
        story = self._experiment.train()
        while not self._over and (event := next(story, None)):
            if isinstance(event, Finished | Failed):
                self._save()
            yield event
            if self._look and isinstance(event, Progress):
                yield self._closeup(self._look)
            if self._experiment.between_steps and not isinstance(event, Failed):
                yield from self._before_step()

    def _before_step(self) -> Iterator[Event | None]:
        """Obey orders until the next step is to be made; keep an eye on the time."""
        yield from self._obey()
        allowed = self._experiment.spec.seconds
        if not self._over and allowed is not None and self._clock.seconds() >= allowed:
            self._experiment.end(f"{allowed:,g} seconds of training are over")
            return
        if not self._over and self._clock.seconds() >= self._save_at:
            self._save()
        if not self._over and (self._paused or self._slow):  # this one step is made to be seen
            with self._clock.stopped():
                self._look = self._experiment.look()

    def _closeup(self, before: Before) -> Closeup:
        self._look = None
        with self._clock.stopped():
            return self._experiment.compare(before)

    def _obey(self) -> Iterator[Event | None]:
        """Obey every order there is, and as many as come while it is held."""
        until = math.inf if self._paused else time.monotonic() + SLOW if self._slow else 0.0
        while not self._over:
            with self._clock.stopped():
                order = self._receive(max(0.0, until - time.monotonic()))
            match order:
                case None if time.monotonic() < until:
                    yield None
                case None:
                    return
                case Pause():
                    self._paused, self._slow, until = True, False, math.inf
                case Resume():
                    self._paused, self._slow, until = False, False, 0.0
                case Slow():
                    self._paused, self._slow, until = False, True, 0.0
                case Step():
                    self._paused, self._slow = True, False  # after the step
                    return
                case _:
                    yield from self._do(order)

    def _do(self, order: Order) -> Iterator[Event]:
        """Obey an order that changes nothing about when steps are made, or is the last one."""
        match order:
            case Checkpoint():
                self._save()
            case SwapNow(run, estimator, k):
                yield self._experiment.swap(run, estimator, k)
                self._save()  # nothing else could tell a resumed experiment of this swap
            case Leave():
                self._end()
            case Stop(reason):
                self._end()
                yield Finished(self._experiment.step, stopped=True, reason=reason)

    def _end(self) -> None:
        self._save()
        self._over = True

    def _save(self) -> None:
        if not self._experiment.begun or not self._experiment.finite:
            return  # the state before is worth more
        self._log.sync()  # a checkpoint never knows of events that the log has lost
        seconds = self._clock.seconds()
        self._save_at = seconds + min(SAVE_EVERY, max(SAVE_FIRST, seconds - self._began))
        state = self._experiment.state_dict()
        checkpoint.save(self._path, state | {"events": self._log.length, "seconds": seconds})


def explained(error: Exception) -> str:
    """An error in one line, for people."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full: the run could not be saved; free some space, then resume it from its last saved state"
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return f"out of memory: this run needs more than it may have; choose a smaller k or minibatch ({text[:200]})"
    return text
