"""Iterates one training run in the current process, obeys commands between two steps, and keeps the run's folder."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from iwae_core import checkpoint
from iwae_core.checkpoint import CheckpointError
from iwae_core.datasets import DataError
from iwae_core.events import Event, Failed, Finished, Record
from iwae_core.log import EventLog, LogReader
from iwae_core.spec import ExperimentSpec
from iwae_core.train import Experiment

# "step" makes one step and pauses; there is also "swap RUN ESTIMATOR K", see `Engine.swap`.
Command: TypeAlias = Literal["pause", "resume", "step", "checkpoint", "stop"]
# Called with True to wait for the next command, with False to look whether there is one.
Receive: TypeAlias = Callable[[bool], str | None]

LOG, SPEC, CHECKPOINT = "events.jsonl", "spec.json", "checkpoint.pt"
SAVE_EVERY = 60.0  # seconds of training between two checkpoints: what a killed process loses at most


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


def saved(folder: Path) -> dict[str, Any] | None:
    """The last state of a folder's run; None if none was saved yet, and the run begins at the beginning.

    Raises:
        CheckpointError: it is damaged, of another version or another experiment, or missing although the run has ended.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        records = LogReader(folder / LOG).new()
        if records and isinstance(records[-1].event, Finished):
            raise CheckpointError(
                f"{folder} has ended, but its {CHECKPOINT} is missing; there is nothing to go on from"
            )
        return None
    state = checkpoint.load(path)
    if ExperimentSpec.from_json(state["spec"]) != ExperimentSpec.from_json((folder / SPEC).read_text()):
        raise CheckpointError(f"{path} is of another experiment than the {SPEC} beside it; put the right one back")
    return state


def rewind(folder: Path) -> None:
    """Cut the log back to the last saved state, from where `run` will go on.

    Raises:
        CheckpointError: as `saved`.
        LogError: as `EventLog`.
    """
    state = saved(folder)
    EventLog(folder / LOG, state["events"] if state else 0).close()


def run(folder: Path, receive: Receive = lambda wait: None) -> Generator[Record | None, None, None]:
    """Train the experiment of a folder, from its last saved state if there is one.

    Writes every event to the log, and a checkpoint now and then and at the end. Yields each record after it is written,
    and None while it is paused and `receive` has no command. An error of the training becomes a `Failed` event.

    Raises:
        CheckpointError: as `saved`.
        LogError: as `EventLog`.
    """
    state = saved(folder)
    clock, step = (Clock(state["seconds"]), state["step"]) if state else (Clock(), 0)
    with EventLog(folder / LOG, state["events"] if state else 0) as log:
        try:
            for event in _Session(folder, state, log, clock, receive).events():
                step = getattr(event, "step", step)
                record = log.append(event, clock.seconds()) if event else None
                with clock.stopped():
                    yield record
        except (DataError, OSError, MemoryError, RuntimeError) as error:
            yield log.append(Failed(step, _one_line(error)), clock.seconds())


class _Session:
    """An experiment under control: paused or not, and saved when it is time."""

    def __init__(
        self, folder: Path, state: dict[str, Any] | None, log: EventLog, clock: Clock, receive: Receive
    ) -> None:
        self._path, self._log, self._clock, self._receive = folder / CHECKPOINT, log, clock, receive
        self._experiment = Experiment(ExperimentSpec.from_json((folder / SPEC).read_text()))
        if state:
            self._experiment.load_state_dict(state)
        self._saved_at = clock.seconds()
        self._paused = self._stopped = False

    def events(self) -> Iterator[Event | None]:
        """The experiment's events and those of commands; None when paused without a command."""
        for event in self._experiment.train():
            if isinstance(event, Finished):
                self._save()
            yield event
            if self._experiment.between_steps:
                yield from self._obey()
                if self._stopped:
                    self._save()
                    yield Finished(self._experiment.step, stopped=True)
                    return
                if self._clock.seconds() - self._saved_at >= SAVE_EVERY:
                    self._save()

    def _obey(self) -> Iterator[Event | None]:
        """Obey every command there is, and as many as come during a pause, until the next step is to be made."""
        while not self._stopped:
            with self._clock.stopped():
                command = self._receive(self._paused)
            match (command or "").split():
                case [] if self._paused:
                    yield None
                case []:
                    return
                case ["pause"]:
                    self._paused = True
                case ["resume"]:
                    self._paused = False
                case ["step"]:
                    self._paused = True  # after the step
                    return
                case ["checkpoint"]:
                    self._save()
                case ["swap", run, estimator, k]:
                    yield self._experiment.swap(int(run), estimator, int(k))
                    self._save()  # nothing else could tell a resumed run of this swap
                case ["stop"]:
                    self._stopped = True

    def _save(self) -> None:
        self._log.sync()  # a checkpoint never knows of events that the log has lost
        self._saved_at = self._clock.seconds()
        state = self._experiment.state_dict()
        checkpoint.save(self._path, state | {"events": self._log.length, "seconds": self._saved_at})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
