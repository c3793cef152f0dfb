"""Where training runs: engines differ only in where they iterate the same generator."""

import re
import threading
import uuid
from abc import ABC, abstractmethod
from enum import StrEnum
from pathlib import Path

from iwae_core.engines.runner import LOG, SPEC, Command, rewind
from iwae_core.events import Failed, Finished
from iwae_core.history import History
from iwae_core.log import LogReader
from iwae_core.registry import Registry
from iwae_core.spec import ExperimentSpec, Swap

RUN_ID = re.compile(r"[0-9a-f]{32}")


class State(StrEnum):
    """What a run is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def active(self) -> bool:
        """Whether more events may come."""
        return self in (State.RUNNING, State.PAUSED)


class UnknownRunError(LookupError):
    """No run has this id here."""


class EngineFullError(RuntimeError):
    """As many runs as this engine allows are already training."""


class Engine(ABC):
    """Submits experiments and follows them. A run is a folder: its specification, its log, its last state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._histories: dict[str, tuple[LogReader, History]] = {}
        self._paused: set[str] = set()

    def submit(self, spec: ExperimentSpec) -> str:
        """Start an experiment; returns its id at once.

        Raises:
            EngineFullError: too many are running.
        """
        with self._lock:
            run_id = uuid.uuid4().hex
            self._admit()
            folder = self.folder / run_id
            folder.mkdir(parents=True)
            (folder / SPEC).write_text(spec.to_json())
            self._start(run_id)
            return run_id

    def recover(self, run_id: str) -> None:
        """Go on with a run that was interrupted, stopped or failed, from its last checkpoint or else from its start.

        What it had logged after that is made again. A run that is active, or has made all its steps, is left alone.

        Raises:
            UnknownRunError: no such run.
            EngineFullError: too many are running.
            CheckpointError: its checkpoint cannot be used.
            LogError: its log cannot be used, or another process goes on with it.
        """
        with self._lock:
            if self.state(run_id) not in (State.INTERRUPTED, State.STOPPED, State.FAILED):
                return
            self._end(run_id)
            self._admit()
            rewind(self._folder(run_id))
            self._histories.pop(run_id)
            self._paused.discard(run_id)
            self._start(run_id)

    def history(self, run_id: str) -> History:
        """Everything the run has reported so far, folded once for all who watch; never waits for training.

        Raises:
            UnknownRunError: no such run.
        """
        folder = self._folder(run_id)
        with self._lock:
            reader, history = self._histories.setdefault(run_id, (LogReader(folder / LOG), History()))
            return history.extend(reader.new())

    def state(self, run_id: str) -> State:
        """What the run is doing.

        Raises:
            UnknownRunError: no such run.
        """
        # Ask first, read after: a run that ends in between has written its last event by then.
        alive = self._alive(run_id)
        match self.history(run_id).outcome:
            case Failed():
                return State.FAILED
            case Finished(stopped=stopped):
                return State.STOPPED if stopped else State.COMPLETED
        if not alive:
            return State.INTERRUPTED
        return State.PAUSED if run_id in self._paused else State.RUNNING

    def spec(self, run_id: str) -> ExperimentSpec:
        """The specification the run was started with."""
        return ExperimentSpec.from_json((self._folder(run_id) / SPEC).read_text())

    def send(self, run_id: str, command: Command) -> None:
        """Ask an active run to do something between two steps; does nothing to a run that has ended.

        "pause", "resume" and "stop" are what they say, "step" makes one step and pauses, "checkpoint" saves its state.
        """
        if self.state(run_id).active:
            if command in ("pause", "step"):
                self._paused.add(run_id)
            elif command in ("resume", "stop"):
                self._paused.discard(run_id)
            self._send(run_id, command)

    def swap(self, run_id: str, run: int, estimator: str, k: int) -> None:
        """Ask an active experiment to go on with another estimator and k in its run number `run` (from 0).

        The weights and the optimiser's moments continue. The log tells of it by a `Swapped` event.

        Raises:
            UnknownRunError: no such experiment.
            SpecError: no such run or estimator, or k out of range; the experiment goes on as it was.
        """
        self.spec(run_id).swapped(Swap(run=run, step=0, estimator=estimator, k=k))
        if self.state(run_id).active:
            self._send(run_id, f"swap {run} {estimator} {k}")

    def _folder(self, run_id: str) -> Path:
        folder = self.folder / run_id
        if not RUN_ID.fullmatch(run_id) or not (folder / SPEC).is_file():
            raise UnknownRunError(
                f"there is no run {run_id[:40]!r} here; it may have been deleted, or the link is incomplete"
            )
        return folder

    @abstractmethod
    def _admit(self) -> None:
        """Raise `EngineFullError` if no further run may start."""

    @abstractmethod
    def _start(self, run_id: str) -> None:
        """Begin iterating the run of a folder."""

    @abstractmethod
    def _end(self, run_id: str) -> None:
        """Let go of a run that is not active."""

    @abstractmethod
    def _alive(self, run_id: str) -> bool:
        """Whether something iterates the run, paused or not."""

    @abstractmethod
    def _send(self, run_id: str, command: str) -> None:
        """Deliver a command to an active run."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything this engine runs."""


ENGINES: Registry[type[Engine]] = Registry("engine")
