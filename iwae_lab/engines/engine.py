"""Submits experiments and follows them, wherever they are iterated."""

import atexit
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from iwae_core.training.memory import require_memory
from iwae_core.training.spec import ExperimentSpec, Swap
from iwae_lab.engines.backend import BACKENDS, Backend
from iwae_lab.engines.folders import EXPERIMENT_ID, Folders, NotOwnerError, digest
from iwae_lab.engines.histories import Histories
from iwae_lab.engines.jobs import Job, Phase, State
from iwae_lab.engines.protocol import Checkpoint, Command, Pause, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.engines.settings import EngineLimits, from_environment
from iwae_lab.engines.supervisor import Supervisor
from iwae_lab.history.history import History
from iwae_lab.records.folder import LOG, rewind
from iwae_lab.records.log import LogError

UNFINISHED = (State.INTERRUPTED, State.STOPPED, State.FAILED)
GIVES_WAY = "stopped because nobody watched it and there were too many others"


def open_engine(
    backend: str, folder: Path, limits: EngineLimits | None = None, ids: re.Pattern[str] = EXPERIMENT_ID
) -> "Engine":
    """An engine on a folder with a backend by name; without limits the environment's hold, see `from_environment`."""
    limits = limits or from_environment()
    return Engine(folder, BACKENDS[backend](limits), limits, ids)


class Census(NamedTuple):
    """Unfinished experiments by state, those that ended here by how, steps of the unfinished ones, and slots."""

    unfinished: dict[str, int]
    ended: dict[str, int]
    steps: int
    slots: int


class Engine:
    """Keeps each experiment in a folder: its specification, its owner, its log, its last state.

    An owner is any secret text that only its visitor knows; experiments of the empty owner belong to everybody. Whoever
    shows an experiment calls `touch` now and then: one that nobody watches is paused, and stopped in the end. `Jobs`
    has the rules of the queue, `Supervisor` does what happens by itself, and a backend does the work.
    """

    def __init__(
        self, folder: Path, backend: Backend, limits: EngineLimits, ids: re.Pattern[str] = EXPERIMENT_ID
    ) -> None:
        self.folder, self.backend, self.limits = folder, backend, limits
        self._folders = Folders(folder, ids)
        self._histories = Histories()
        self._supervisor = Supervisor(self._folders, self._histories, backend, limits)
        self._jobs, self._lock = self._supervisor.jobs, self._supervisor.lock
        if backend.outlives:
            with self._lock:
                self._adopt()
        if backend.by_itself:
            atexit.register(self.close)

    def _adopt(self) -> None:
        """Take over what goes on from an engine before this one."""
        for experiment_id, folder in self._folders.all():
            if self._folders.presence.elsewhere(folder) or self._histories.outcome(folder / LOG):
                continue
            if pace := self.backend.adopt(experiment_id, folder):
                self._folders.presence.claim(folder)
                job = self._jobs.add(experiment_id, self._folders.owner(experiment_id), time.monotonic())
                job.phase, job.slow = Phase.STARTED, isinstance(pace, Slow)
                if isinstance(pace, Pause | Step):
                    job.hold(time.monotonic())

    def close(self) -> None:
        """Save and end everything this engine runs, within `farewell` seconds; see `Backend.outlives`."""
        atexit.unregister(self.close)
        self._supervisor.close()

    def submit(self, spec: ExperimentSpec, owner: str = "", address: str = "") -> str:
        """Start an experiment, or let it wait for a slot; returns its id at once.

        The address is where its visitor comes from, if that is known: names cost nothing, addresses do.

        Raises:
            SpecError: it needs more memory than one may have.
            EngineFullError: too many are waiting, or too many are this owner's or this address's.
            OSError: its folder cannot be written, as on a full disk.
        """
        require_memory(spec, self.limits.memory_mb)
        with self._lock:
            self._admit(digest(owner), address)
            experiment_id = self._folders.make(spec, owner)
            self._jobs.add(experiment_id, digest(owner), time.monotonic(), address)
            self._supervisor.fill_slots()
            return experiment_id

    def recover(self, experiment_id: str, owner: str = "", address: str = "") -> None:
        """Go on with one that was interrupted, stopped or failed, from its last checkpoint or else from its start.

        What it had logged after that is made again. One that is active, or has made all its steps, is left alone.

        Raises:
            UnknownExperimentError: no such experiment.
            NotOwnerError: it is somebody else's.
            EngineFullError: as `submit`.
            CheckpointError: its checkpoint cannot be used.
            LogError: its log cannot be used, or another process or server goes on with it.
        """
        self._require_command(experiment_id, owner)
        with self._lock:
            if self.state(experiment_id) not in UNFINISHED:
                return
            if job := self._jobs.get(experiment_id):  # it has ended a moment ago
                self._supervisor.forget(job)
            self._admit(self._folders.owner(experiment_id), address)
            rewind(self._folders[experiment_id])
            self._folders.presence.claim(self._folders[experiment_id])
            self._histories.forget(self._log(experiment_id))
            self._jobs.add(experiment_id, self._folders.owner(experiment_id), time.monotonic(), address)
            self._supervisor.fill_slots()

    def history(self, experiment_id: str) -> History:
        """Everything the experiment has reported so far, folded once for all who watch; never waits for training.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        log = self._log(experiment_id)
        self._supervisor.look()
        return self._histories.read(log)

    def state(self, experiment_id: str) -> State:
        """What the experiment is doing.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        log = self._log(experiment_id)
        self._supervisor.look()
        # Ask first, read after: one that ends in between has written its last event by then.
        with self._lock:
            job = self._jobs.get(experiment_id)
        if job:
            state = job.state
        else:
            elsewhere = self._folders.presence.elsewhere(self._folders[experiment_id])
            state = State.ELSEWHERE if elsewhere else State.INTERRUPTED
        outcome = self._histories.outcome(log)
        return State.of(outcome) if outcome else state

    def spec(self, experiment_id: str) -> ExperimentSpec:
        """The specification the experiment was started with.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        return self._folders.spec(experiment_id)

    def experiments(self, owner: str) -> list[str]:
        """The owner's experiments, newest first; for the empty owner those of nobody in particular."""
        return self._folders.of(owner)

    def gather(self, experiments: Sequence[str]) -> None:
        """Have the members of a sweep be known by the first of them.

        Raises:
            UnknownExperimentError: no such experiment.
            OSError: that cannot be written, as on a full disk.
        """
        self._folders.gather(experiments)

    def gathered(self, experiment_id: str) -> Sequence[str]:
        """The members of the sweep that is known by this experiment; itself if none is.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        return self._folders.gathered(experiment_id)

    def owns(self, experiment_id: str, owner: str) -> bool:
        """Whether this owner may command the experiment.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        return self._folders.owns(experiment_id, owner)

    def position(self, experiment_id: str) -> int | None:
        """The experiment's place in the queue, 1 being the next; None if it does not wait."""
        with self._lock:
            return {job.experiment_id: place for place, job in enumerate(self._jobs.order(), 1)}.get(experiment_id)

    def unwatched(self, experiment_id: str) -> bool:
        """Whether it is paused because nobody watched it; the next `touch` resumes it."""
        job = self._jobs.get(experiment_id)
        return job is not None and job.unwatched

    def slow(self, experiment_id: str) -> bool:
        """Whether it is in slow motion."""
        job = self._jobs.get(experiment_id)
        return job is not None and job.slow

    def restarts(self, experiment_id: str) -> int:
        """How many times its process died and it went on by itself from its last checkpoint."""
        job = self._jobs.get(experiment_id)
        return job.restarts if job else 0

    def revived_at(self, experiment_id: str) -> int | None:
        """The step from which it went on by itself when its process had last died; None if none has."""
        job = self._jobs.get(experiment_id)
        return job.revived_at if job and job.restarts else None

    def trouble(self) -> str:
        """Why nothing can be started at present, in a sentence for visitors; empty if it can."""
        return self.backend.trouble() or self._supervisor.hindrance

    def census(self) -> Census:
        """How many experiments there are, for whoever watches the server."""
        with self._lock:
            jobs, ended = list(self._jobs), dict(self._supervisor.ended)
        steps = sum(self._histories.read(self._log(job.experiment_id)).step for job in jobs)
        return Census(Counter(job.state for job in jobs), ended, steps, self._supervisor.slots)

    def remark(self, experiment_id: str) -> str:
        """What is to be known of how it was iterated, in a sentence for visitors; mostly nothing.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        return self.backend.remark(self._folders[experiment_id])

    def touch(self, experiment_id: str) -> None:
        """Somebody watches the experiment now.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        self._folders.touch(experiment_id)
        with self._lock:
            if job := self._jobs.get(experiment_id):
                job.touched, job.seen = time.monotonic(), True
                if job.unwatched:
                    job.unwatched = False
                    self._supervisor.release(job)

    def send(self, experiment_id: str, command: Command, owner: str = "") -> None:
        """Ask an active experiment to do something between two steps; does nothing to one that has ended.

        A swap is told by a `Swapped` event in the log.

        Raises:
            UnknownExperimentError: no such experiment.
            NotOwnerError: it is somebody else's.
            LogError: it is another server's.
            SpecError: a swap of no such run or estimator, k out of range, or too much memory; nothing has changed then.
        """
        self._require_command(experiment_id, owner)
        if isinstance(command, SwapNow):
            swap = Swap(run=command.run, step=0, estimator=command.estimator, k=command.k)
            require_memory(self.spec(experiment_id).swapped(swap), self.limits.memory_mb)
        with self._lock:
            job = self._jobs.get(experiment_id)
            if job and not job.ending and not self._histories.outcome(self._log(experiment_id)):
                self._obey(job, command)

    def _obey(self, job: Job, command: Command) -> None:
        job.touched, job.seen, alone, job.unwatched = time.monotonic(), True, job.unwatched, False
        match command:
            case Pause() | Step():
                job.hold(time.monotonic())
                self._supervisor.ask(job, command)
            case Resume() | Slow():
                job.let_go(slow=isinstance(command, Slow))
                self._supervisor.release(job)
            case Stop(reason):
                self._supervisor.stop(job, reason)
            case SwapNow() | Checkpoint():
                # Without a process there is nothing that is not saved.
                if isinstance(command, SwapNow) or job.phase is Phase.STARTED:
                    self._supervisor.ask(job, command)
                if alone:
                    self._supervisor.release(job)

    def _log(self, experiment_id: str) -> Path:
        return self._folders[experiment_id] / LOG

    def _admit(self, owner: str, address: str) -> None:
        """Refuse a further experiment, or make room for it."""
        if job := self._jobs.admit(owner, address):
            self._supervisor.stop(job, GIVES_WAY)

    def _require_command(self, experiment_id: str, owner: str) -> None:
        """Refuse the commands of those who may give none here."""
        if not self.owns(experiment_id, owner):
            raise NotOwnerError(f"run {experiment_id} belongs to another visitor; start one of your own to control it")
        if self.state(experiment_id) is State.ELSEWHERE:
            raise LogError("this run is in the care of another server on the same folder; control it there")
