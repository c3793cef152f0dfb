"""Where training runs: engines differ only in where they iterate the same generator."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from iwae_core.checkpoint import CheckpointError
from iwae_core.engines.folders import NotOwnerError, RunFolders, digest
from iwae_core.engines.histories import Histories
from iwae_core.engines.jobs import Job, Jobs, Phase, State
from iwae_core.engines.limits import EngineLimits, from_environment
from iwae_core.engines.runner import CHECKPOINT, LOG, SPEC, STOPPED, Command, rewind
from iwae_core.events import Failed, Finished
from iwae_core.history import History
from iwae_core.log import LogError, conclude
from iwae_core.registry import Registry
from iwae_core.spec import ExperimentSpec, Swap

LOGGER = logging.getLogger(__name__)
RESTARTS = 2  # of a run whose process dies again and again without a new checkpoint
PRUNE_EVERY = 60.0
UNFINISHED = (State.INTERRUPTED, State.STOPPED, State.FAILED)


class Death(NamedTuple):
    """How a process ended that had not told an end, and whether it is of any use to try again."""

    reason: str
    final: bool = False


class Engine(ABC):
    """Submits experiments and follows them. A run is a folder: its specification, its owner, its log, its last state.

    An owner is any secret text that only its visitor knows; runs of the empty owner belong to everybody. Whoever shows
    a run calls `touch` now and then: a run that nobody watches is paused, and stopped in the end. See `Jobs` for the
    rules of the queue. Without `limits` the environment's hold, see `from_environment`.
    """

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or from_environment()
        self._folders = RunFolders(folder)
        self._histories = Histories()
        self._jobs = Jobs(self.limits)
        self._lock = RLock()
        self._prune_at = 0.0

    def submit(self, spec: ExperimentSpec, owner: str = "") -> str:
        """Start an experiment, or let it wait for a slot; returns its id at once.

        Raises:
            SpecError: it needs more memory than a run may have.
            EngineFullError: too many are waiting, or too many are this owner's.
            OSError: its folder cannot be written, as on a full disk.
        """
        spec.require_memory(self.limits.memory_mb)
        with self._lock:
            self._jobs.admit(digest(owner))
            run_id = self._folders.make(spec, owner)
            self._jobs.add(run_id, digest(owner), time.monotonic())
            self._fill_slots()
            return run_id

    def recover(self, run_id: str, owner: str = "") -> None:
        """Go on with a run that was interrupted, stopped or failed, from its last checkpoint or else from its start.

        What it had logged after that is made again. A run that is active, or has made all its steps, is left alone.

        Raises:
            UnknownRunError: no such run.
            NotOwnerError: it is somebody else's.
            EngineFullError: as `submit`.
            CheckpointError: its checkpoint cannot be used.
            LogError: its log cannot be used, or another process goes on with it.
        """
        self._require_owner(run_id, owner)
        with self._lock:
            if self.state(run_id) not in UNFINISHED:
                return
            if job := self._jobs.get(run_id):  # it has ended a moment ago
                self._end(run_id)
                self._jobs.remove(job)
            self._jobs.admit(self._folders.owner(run_id))
            rewind(self._folders[run_id])
            self._histories.forget(self._log(run_id))
            self._jobs.add(run_id, self._folders.owner(run_id), time.monotonic())
            self._fill_slots()

    def history(self, run_id: str) -> History:
        """Everything the run has reported so far, folded once for all who watch; never waits for training.

        Raises:
            UnknownRunError: no such run.
        """
        self._look(run_id)
        return self._histories.read(self._log(run_id))

    def state(self, run_id: str) -> State:
        """What the run is doing.

        Raises:
            UnknownRunError: no such run.
        """
        log = self._log(run_id)
        self._look(run_id)
        # Ask first, read after: a run that ends in between has written its last event by then.
        with self._lock:
            job = self._jobs.get(run_id)
            state = job.state if job else State.INTERRUPTED
        match self._histories.outcome(log):
            case Failed():
                return State.FAILED
            case Finished(stopped=stopped):
                return State.STOPPED if stopped else State.COMPLETED
        return state

    def spec(self, run_id: str) -> ExperimentSpec:
        """The specification the run was started with.

        Raises:
            UnknownRunError: no such run.
        """
        return ExperimentSpec.from_json((self._folders[run_id] / SPEC).read_text())

    def runs(self, owner: str) -> list[str]:
        """The owner's runs, newest first; for the empty owner those of nobody in particular."""
        return self._folders.of(owner)

    def owns(self, run_id: str, owner: str) -> bool:
        """Whether this owner may command the run.

        Raises:
            UnknownRunError: no such run.
        """
        return self._folders.owns(run_id, owner)

    def position(self, run_id: str) -> int | None:
        """The run's place in the queue, 1 being the next; None if it does not wait."""
        with self._lock:
            return {job.run_id: place for place, job in enumerate(self._jobs.order(), 1)}.get(run_id)

    def unwatched(self, run_id: str) -> bool:
        """Whether the run is paused because nobody watched it; the next `touch` resumes it."""
        job = self._jobs.get(run_id)
        return job is not None and job.unwatched

    def slow(self, run_id: str) -> bool:
        """Whether the run is in slow motion."""
        job = self._jobs.get(run_id)
        return job is not None and job.slow

    def restarts(self, run_id: str) -> int:
        """How many times the run's process died and the run went on by itself from its last checkpoint."""
        job = self._jobs.get(run_id)
        return job.restarts if job else 0

    def touch(self, run_id: str) -> None:
        """Somebody watches the run now.

        Raises:
            UnknownRunError: no such run.
        """
        self._folders.touch(run_id)
        with self._lock:
            if job := self._jobs.get(run_id):
                job.touched = time.monotonic()
                if job.unwatched:
                    job.unwatched = False
                    self._release(job)

    def send(self, run_id: str, command: Command, owner: str = "") -> None:
        """Ask an active run to do something between two steps; does nothing to a run that has ended.

        "pause", "resume" and "stop" are what they say, "step" makes one step and pauses, "slow" makes one every few
        seconds, "checkpoint" saves its state.

        Raises:
            UnknownRunError: no such run.
            NotOwnerError: it is somebody else's.
        """
        self._require_owner(run_id, owner)
        with self._lock:
            job = self._jobs.get(run_id)
            if job is None or self._histories.outcome(self._log(run_id)):
                return
            job.touched, alone, job.unwatched = time.monotonic(), job.unwatched, False
            match command:
                case "pause" | "step":
                    job.hold(time.monotonic())
                    self._ask(job, command)
                case "resume" | "slow":
                    job.let_go(slow=command == "slow")
                    self._release(job)
                case "checkpoint":
                    if job.phase is Phase.STARTED:  # else it is saved
                        self._send(run_id, command)
                    if alone:
                        self._release(job)
                case "stop":
                    self._stop(job, STOPPED)

    def swap(self, run_id: str, run: int, estimator: str, k: int, owner: str = "") -> None:
        """Ask an active experiment to go on with another estimator and k in its run number `run` (from 0).

        The weights and the optimiser's moments continue. The log tells of it by a `Swapped` event.

        Raises:
            UnknownRunError: no such experiment.
            NotOwnerError: it is somebody else's.
            SpecError: no such run or estimator, k out of range, or too much memory; the experiment goes on as it was.
        """
        self._require_owner(run_id, owner)
        swapped = self.spec(run_id).swapped(Swap(run=run, step=0, estimator=estimator, k=k))
        swapped.require_memory(self.limits.memory_mb)
        with self._lock:
            if job := self._jobs.get(run_id):
                self._ask(job, f"swap {run} {estimator} {k}")

    def tend(self) -> None:
        """Look after everything: who has ended or died, who is watched, whose turn it is, what is to be deleted."""
        now = time.monotonic()
        with self._lock:
            for job in self._jobs:
                if job.has_slot:
                    self._check(job)
            for job in self._jobs:
                self._watch(job, now)
            self._fill_slots()
            for job in self._jobs.to_park(now):
                job.phase = Phase.LEAVING
                self._send(job.run_id, "leave")
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY
            self._prune()
            self._histories.tidy(PRUNE_EVERY)

    def _require_owner(self, run_id: str, owner: str) -> None:
        if not self.owns(run_id, owner):
            raise NotOwnerError(f"run {run_id} belongs to another visitor; start one of your own to control it")

    def _log(self, run_id: str) -> Path:
        return self._folders[run_id] / LOG

    def _ask(self, job: Job, command: str) -> None:
        """Have a job obey a command now, or as soon as it has a slot."""
        if job.phase is Phase.STARTED:
            self._send(job.run_id, command)
        elif command == "pause":
            job.phase = Phase.PARKED if job.phase is Phase.WAITING else job.phase
        else:
            job.commands.append(command)
            if command == "step" and job.phase is Phase.PARKED:
                self._jobs.queue_again(job)

    def _release(self, job: Job) -> None:
        """Let a job go on that was held."""
        if job.held:
            return
        if job.phase is Phase.STARTED:
            self._send(job.run_id, "slow" if job.slow else "resume")
        elif job.phase is Phase.PARKED:
            self._jobs.queue_again(job)

    def _stop(self, job: Job, reason: str) -> None:
        job.ending = reason
        if job.phase is Phase.STARTED:
            self._send(job.run_id, f"stop {reason}")
        elif not job.has_slot:
            self._conclude(job, lambda step: Finished(step, stopped=True, reason=reason))

    def _fill_slots(self) -> None:
        for job in self._jobs.to_start():
            try:
                self._start(job.run_id, job.opening())
            except OSError:  # no further process now; the next look tries again
                LOGGER.exception("cannot start run %s", job.run_id)
                return
            job.phase = Phase.STARTED

    def _check(self, job: Job) -> None:
        """See whether a job has ended, left or died."""
        # Ask first, read after: a run that ends in between has written its last event by then.
        if self._alive(job.run_id):
            return
        death, ended = self._end(job.run_id), self._histories.outcome(self._log(job.run_id))
        if ended:
            self._jobs.remove(job)
        elif reason := job.ending:
            self._conclude(job, lambda step: Finished(step, stopped=True, reason=reason))
        elif job.phase is Phase.STARTED:
            self._revive(job, death)
        elif job.waits_for_resume:
            job.phase = Phase.PARKED
        else:
            self._jobs.queue_again(job)

    def _revive(self, job: Job, death: Death) -> None:
        """Go on with a job whose process has died, unless that keeps happening."""
        folder = self._folders[job.run_id]
        if death.final or job.died(_version(folder / CHECKPOINT)) > RESTARTS:
            text = death.reason if death.final else f"{death.reason}, {job.deaths} times in a row"
            self._conclude(job, lambda step: Failed(step, f"{text}; resume it from its last saved state"))
            return
        try:
            rewind(folder)
        except (CheckpointError, LogError, OSError) as error:
            message = f"{death.reason}; and it cannot go on: {error}"
            self._conclude(job, lambda step: Failed(step, message))
            return
        self._histories.forget(folder / LOG)
        job.phase = Phase.WAITING  # in its old place: it gets its slot back
        job.restarts += 1

    def _conclude(self, job: Job, end: Callable[[int], Finished | Failed]) -> None:
        """Write the end of a job that has no process."""
        self._jobs.remove(job)
        log = self._log(job.run_id)
        try:
            conclude(log, end)
        except (OSError, LogError):
            LOGGER.exception("cannot write how run %s ended", job.run_id)
            self._histories.keep(log, end(self._histories.read(log).step))

    def _watch(self, job: Job, now: float) -> None:
        """Pause a job that nobody watches, and stop one that nobody has watched for long."""
        alone = now - job.touched
        if alone >= self.limits.grace + self.limits.abandon and not job.ending:
            self._stop(job, f"stopped because nobody watched it for {alone / 60:,.0f} minutes")
        elif alone >= self.limits.grace and not job.unwatched:
            job.unwatched, job.held_since = True, now
            if job.phase is Phase.STARTED and not job.paused:
                self._send(job.run_id, "pause")

    def _prune(self) -> None:
        """Delete the oldest runs that have ended if all together take too much space."""
        for run_id in self._folders.excess(self.limits.quota_mb):
            with self._lock:
                if self._jobs.get(run_id) is None:
                    self._histories.forget(self._log(run_id))
                    self._folders.delete(run_id)

    @abstractmethod
    def _look(self, run_id: str) -> None:
        """Somebody looks at a run."""

    @abstractmethod
    def _start(self, run_id: str, commands: Sequence[str]) -> None:
        """Begin iterating the run of a folder, and obey these commands before its first step."""

    @abstractmethod
    def _send(self, run_id: str, command: str) -> None:
        """Deliver a command to a run that was started."""

    @abstractmethod
    def _alive(self, run_id: str) -> bool:
        """Whether something still iterates the run, held or not."""

    @abstractmethod
    def _end(self, run_id: str) -> Death:
        """Let go of a run that was started, and tell how it ended."""

    @abstractmethod
    def close(self) -> None:
        """Save and end everything this engine runs."""


def _version(path: Path) -> int:
    """Tells one checkpoint from the next; 0 for none."""
    return path.stat().st_mtime_ns if path.exists() else 0


ENGINES: Registry[type[Engine]] = Registry("engine")
