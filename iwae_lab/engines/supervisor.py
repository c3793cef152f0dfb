"""What happens by itself: slots, queue, who watches, processes that die, and space on disk."""

import ctypes
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from iwae_core.training.events import Failed, Finished
from iwae_lab.engines.backend import Backend, Death
from iwae_lab.engines.folders import Folders
from iwae_lab.engines.histories import Histories
from iwae_lab.engines.jobs import Job, Jobs, Phase, State
from iwae_lab.engines.protocol import Command, Leave, Pause, Resume, Slow, Step, Stop
from iwae_lab.engines.runner import explained
from iwae_lab.engines.settings import EngineLimits
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, rewind, saved
from iwae_lab.records.log import LogError, conclude

LOGGER = logging.getLogger(__name__)
RESTARTS = 2  # of an experiment whose process dies again and again without a new checkpoint
PRUNE_EVERY = 60.0
HINDERED = "Nothing can be started at the moment ({}). Runs wait until that is mended."


class Supervisor:
    """Looks after jobs: has a backend start, tell and end them. Whoever reads or changes a job holds `lock`."""

    def __init__(self, folders: Folders, histories: Histories, backend: Backend, limits: EngineLimits) -> None:
        self.jobs = Jobs(limits)
        self.lock = threading.RLock()
        self._folders, self._histories, self._backend, self._limits = folders, histories, backend, limits
        self._prune_at = 0.0
        self._told: set[str] = set()
        self.hindrance = ""  # why those whose turn it is cannot be started, in a sentence for visitors
        self.ended: Counter[str] = Counter()  # how experiments came to their ends
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_tending, name="supervisor", daemon=True)
        if backend.by_itself:
            self._thread.start()

    def look(self) -> None:
        """Somebody looks: a moment in which those experiments go on that do not go on by themselves."""
        if not self._backend.by_itself:
            self.tend()

    def tend(self) -> None:
        """Look after everything: who has ended or died, who is watched, whose turn it is, what is to be deleted."""
        now = time.monotonic()
        with self.lock:
            self._backend.tend()
            for job in self.jobs:
                try:
                    self._look_after(job, now)
                except Exception as error:  # one that cannot be looked after must not keep others from it
                    self._tell(f"looking after experiment {job.experiment_id} failed; trying again", error)
            self.fill_slots()
            for job in self.jobs.to_park(now):
                job.phase, job.due = Phase.LEAVING, now + self._limits.patience + self._backend.delay
                self._backend.send(job.experiment_id, Leave())
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY
            self._prune()
            self._histories.tidy(PRUNE_EVERY)
            _give_back_memory()

    def close(self) -> None:
        """Have every experiment saved, within `farewell` seconds for all of them, and end everything.

        Where experiments outlive their engine, only those are waited for that are to end.
        """
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        with self.lock:
            going = [job for job in self.jobs if job.has_slot]
            busy = {job.experiment_id for job in going if job.ending or not self._backend.outlives}
            for experiment_id in busy:
                self._backend.send(experiment_id, Leave())
            until = time.monotonic() + self._limits.farewell
            while busy and time.monotonic() < until:
                busy = {experiment_id for experiment_id in busy if self._backend.ended(experiment_id) is None}
                time.sleep(0.01)
            self._backend.close()
            for job in self.jobs:
                if job.ending and not self._histories.outcome(self._log(job)):
                    self.end(job)
                self.jobs.remove(job)
            self._folders.presence.close()

    def ask(self, job: Job, command: Command) -> None:
        """Have a job obey a command now, or as soon as it has a slot."""
        if job.phase is Phase.STARTED:
            self._backend.send(job.experiment_id, command)
        elif isinstance(command, Pause):
            job.phase = Phase.PARKED if job.phase is Phase.WAITING else job.phase
        else:
            job.orders.append(command)
            if isinstance(command, Step) and job.phase is Phase.PARKED:
                self.jobs.queue_again(job)

    def release(self, job: Job) -> None:
        """Let a job go on that was held."""
        if job.held:
            return
        if job.phase is Phase.STARTED:
            self._backend.send(job.experiment_id, Slow() if job.slow else Resume())
        elif job.phase is Phase.PARKED:
            self.jobs.queue_again(job)

    def stop(self, job: Job, reason: str) -> None:
        """Bring a job to its end; one whose process does not come to it in time is killed."""
        if job.ending:
            return
        job.ending = reason
        if job.phase is Phase.STARTED:
            job.due = time.monotonic() + self._limits.patience + self._backend.delay
            self._backend.send(job.experiment_id, Stop(reason))
        elif not job.has_slot:
            self.end(job)

    def forget(self, job: Job) -> None:
        """Let go of a job whose log has come to its end."""
        self._backend.ended(job.experiment_id, at_once=True)
        self.jobs.remove(job)

    @property
    def slots(self) -> int:
        """How many may be iterated at once, at the moment."""
        return int(min(self._limits.slots, self._backend.slots()))

    def fill_slots(self) -> None:
        """Start those whose turn it is."""
        self.jobs.slots, hindrance = self.slots, ""
        for job in [] if self._closing.is_set() else self.jobs.to_start():
            orders = job.opening()
            try:
                self._backend.start(job.experiment_id, self._folder(job), orders)
            except OSError as error:  # not now; the next look tries again
                job.orders = orders
                hindrance = HINDERED.format(error.strerror) if error.strerror else ""
                self._tell(f"cannot start experiment {job.experiment_id}", error)
                break
            job.phase = Phase.STARTED
        self.hindrance = hindrance

    def _keep_tending(self) -> None:
        while not self._closing.wait(self._until_next()):
            try:
                self.tend()
            except Exception as error:
                self._tell("looking after the experiments failed; trying again", error)

    def _until_next(self) -> float:
        """Seconds until the next look, or until a worker is to be killed."""
        due = min((job.due for job in self.jobs), default=math.inf)
        return max(0.01, min(self._limits.tick, due - time.monotonic()))

    def _tell(self, what: str, error: Exception) -> None:
        """Tell whoever runs the server of an error, once: what is tried again and again fails again and again."""
        if (told := f"{what}: {error!r}") not in self._told:
            self._told.add(told)
            LOGGER.error("%s", what, exc_info=error)

    def _folder(self, job: Job) -> Path:
        return self._folders.root / job.experiment_id

    def _log(self, job: Job) -> Path:
        return self._folder(job) / LOG

    def end(self, job: Job) -> None:
        """Write that a job was stopped, now that nothing iterates it; at the step from which it can go on."""
        step = _saved_step(self._folder(job))
        self._conclude(job, lambda _: Finished(step, stopped=True, reason=job.ending))

    def _look_after(self, job: Job, now: float) -> None:
        if job.has_slot:
            self._check(job, now)
        if self.jobs.get(job.experiment_id):
            self._watch(job, now)

    def _check(self, job: Job, now: float) -> None:
        """See whether a job has ended, left or died."""
        # Ask first, read after: one that ends in between has written its last event by then.
        late = now >= job.due or self._histories.damaged(self._log(job))
        death = self._backend.ended(job.experiment_id, at_once=late)
        if death is None:
            return
        job.due = math.inf
        if outcome := self._histories.outcome(self._log(job)):
            self.ended[State.of(outcome)] += 1
            self.jobs.remove(job)
        elif job.ending:
            self.end(job)
        elif job.phase is Phase.STARTED:
            self._revive(job, death)
        elif job.waits_for_resume:
            job.phase = Phase.PARKED
        else:
            self.jobs.queue_again(job)

    def _revive(self, job: Job, death: Death) -> None:
        """Go on with a job whose process has died, unless that keeps happening."""
        folder = self._folder(job)
        if death.final or (not death.innocent and job.died(_version(folder / CHECKPOINT)) > RESTARTS):
            text = death.reason if death.final else f"{death.reason}, {job.deaths} times in a row"
            self._conclude(job, lambda step: Failed(step, f"{text}; resume it from its last saved state"))
            return
        try:
            job.revived_at = rewind(folder)
        except (CheckpointError, LogError, OSError) as error:
            message = f"{death.reason}; and it cannot go on: {explained(error)}"
            self._conclude(job, lambda step: Failed(step, message))
            return
        self._histories.forget(folder / LOG)
        job.phase = Phase.WAITING  # in its old place: it gets its slot back
        job.restarts += death.begun

    def _conclude(self, job: Job, end: Callable[[int], Finished | Failed]) -> None:
        """Write the end of a job that nothing iterates."""
        self.jobs.remove(job)
        log = self._log(job)
        self.ended[State.of(end(0))] += 1
        try:
            conclude(log, end)
        except (OSError, LogError) as error:
            self._tell(f"cannot write how experiment {job.experiment_id} ended", error)
            self._histories.keep(log, end(self._histories.read(log).step))

    def _watch(self, job: Job, now: float) -> None:
        """Pause a job that nobody watches, and stop one that nobody has watched for long."""
        alone, limits = now - job.touched, self._limits
        keeps = job.seen and job.phase is not Phase.WAITING
        if alone >= limits.grace + limits.abandon:
            self.stop(job, f"stopped because nobody watched it for {alone / 60:,.0f} minutes")
        elif not job.unwatched and alone >= (limits.grace if keeps else min(limits.grace, limits.away)):
            job.unwatched, job.held_since = True, now
            if job.phase is Phase.STARTED and not job.paused:
                self._backend.send(job.experiment_id, Pause())

    def _prune(self) -> None:
        """Delete the oldest experiments that have ended if all together take too much space."""
        for experiment_id in self._folders.excess(self._limits.quota_mb):
            folder = self._folders.root / experiment_id
            with self.lock:
                if self.jobs.get(experiment_id) is None and not self._folders.presence.elsewhere(folder):
                    self._histories.forget(folder / LOG)
                    self._folders.delete(experiment_id)


def _saved_step(folder: Path) -> int:
    with suppress(CheckpointError, LogError):
        if state := saved(folder):
            return int(state["step"])
    return 0


def _version(path: Path) -> int:
    """Tells one checkpoint from the next; 0 for none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _give_back_memory() -> None:
    """Have the system take back what is free: each thread's pool would keep what it once held, a checkpoint say."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)
