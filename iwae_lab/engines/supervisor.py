"""What an engine does by itself: slots, queue, who watches, processes that die, and space on disk."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import RLock
from typing import NamedTuple

from iwae_core.training.events import Failed, Finished
from iwae_lab.engines.histories import Histories
from iwae_lab.engines.jobs import Job, Jobs, Phase
from iwae_lab.engines.run_folders import RunFolders
from iwae_lab.engines.settings import EngineLimits, from_environment
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, rewind
from iwae_lab.records.log import LogError, conclude

LOGGER = logging.getLogger(__name__)
RESTARTS = 2  # of a run whose process dies again and again without a new checkpoint
PRUNE_EVERY = 60.0


class Death(NamedTuple):
    """How a process ended that had not told an end, and whether it is of any use to try again."""

    reason: str
    final: bool = False


class Supervisor(ABC):
    """Looks after the jobs of an engine, which says how a job is started, told something and ended."""

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        self.folder = folder
        self.limits = limits or from_environment()
        self._folders = RunFolders(folder)
        self._histories = Histories()
        self._jobs = Jobs(self.limits)
        self._lock = RLock()
        self._prune_at = 0.0

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


def _version(path: Path) -> int:
    """Tells one checkpoint from the next; 0 for none."""
    return path.stat().st_mtime_ns if path.exists() else 0
