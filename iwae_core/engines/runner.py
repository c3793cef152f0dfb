"""Iterates one training run in the current process, obeys commands between two steps, and keeps the run's folder."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

from iwae_core import checkpoint
from iwae_core.datasets import DataError
from iwae_core.events import Event, Failed, Finished, Record
from iwae_core.log import EventLog
from iwae_core.spec import ExperimentSpec
from iwae_core.train import Experiment

Command: TypeAlias = Literal["pause", "resume", "stop"]
# Called with True to wait for the next command, with False to look whether there is one.
Receive: TypeAlias = Callable[[bool], Command | None]

LOG, SPEC, CHECKPOINT = "events.jsonl", "spec.json", "checkpoint.pt"


class Clock:
    """Seconds of training, standing still while nobody iterates; monotonic, so a change of system time does no harm."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Since the start, pauses excluded."""
        return time.monotonic() - self._start

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time spent inside does not count."""
        began = time.monotonic()
        yield
        self._start += time.monotonic() - began


def run(spec: ExperimentSpec, folder: Path, receive: Receive = lambda wait: None) -> Iterator[Record]:
    """Train `spec`, writing every event to the log of `folder` and the final weights beside it.

    Yields each record after it is written. An error of the training becomes a `Failed` event, never an exception.
    """
    clock, step = Clock(), 0
    with EventLog(folder / LOG) as log:
        try:
            for event in _controlled(spec, folder, receive, clock):
                step = getattr(event, "step", step)
                record = log.append(event, clock.seconds())
                with clock.stopped():
                    yield record
        except (DataError, OSError, MemoryError, RuntimeError) as error:
            yield log.append(Failed(step, _one_line(error)), clock.seconds())


def _controlled(spec: ExperimentSpec, folder: Path, receive: Receive, clock: Clock) -> Iterator[Event]:
    experiment = Experiment(spec)
    for event in experiment.train():
        if isinstance(event, Finished):
            checkpoint.save(folder / CHECKPOINT, experiment.state_dict())
        yield event
        command = receive(False)
        while command == "pause":
            with clock.stopped():
                command = receive(True)
        if command == "stop" and not isinstance(event, Finished | Failed):
            checkpoint.save(folder / CHECKPOINT, experiment.state_dict())
            yield Finished(getattr(event, "step", 0), stopped=True)
            return


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
