"""Where training runs: engines differ only in where they iterate the same generator."""

import time
from abc import abstractmethod

from iwae_core.registry import Registry
from iwae_core.training.events import Failed, Finished
from iwae_core.training.memory import require_memory
from iwae_core.training.spec import ExperimentSpec, Swap
from iwae_lab.engines.jobs import Phase, State
from iwae_lab.engines.protocol import Command
from iwae_lab.engines.run_folders import NotOwnerError, digest
from iwae_lab.engines.runner import STOPPED
from iwae_lab.engines.supervisor import Supervisor
from iwae_lab.history.history import History
from iwae_lab.records.folder import SPEC, rewind

UNFINISHED = (State.INTERRUPTED, State.STOPPED, State.FAILED)


class Engine(Supervisor):
    """Submits experiments and follows them. A run is a folder: its specification, its owner, its log, its last state.

    An owner is any secret text that only its visitor knows; runs of the empty owner belong to everybody. Whoever shows
    a run calls `touch` now and then: a run that nobody watches is paused, and stopped in the end. See `Jobs` for the
    rules of the queue. Without `limits` the environment's hold, see `from_environment`.
    """

    def submit(self, spec: ExperimentSpec, owner: str = "") -> str:
        """Start an experiment, or let it wait for a slot; returns its id at once.

        Raises:
            SpecError: it needs more memory than a run may have.
            EngineFullError: too many are waiting, or too many are this owner's.
            OSError: its folder cannot be written, as on a full disk.
        """
        require_memory(spec, self.limits.memory_mb)
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
        require_memory(swapped, self.limits.memory_mb)
        with self._lock:
            if job := self._jobs.get(run_id):
                self._ask(job, f"swap {run} {estimator} {k}")

    def _require_owner(self, run_id: str, owner: str) -> None:
        if not self.owns(run_id, owner):
            raise NotOwnerError(f"run {run_id} belongs to another visitor; start one of your own to control it")

    @abstractmethod
    def _look(self, run_id: str) -> None:
        """Somebody looks at a run."""

    @abstractmethod
    def close(self) -> None:
        """Save and end everything this engine runs."""


ENGINES: Registry[type[Engine]] = Registry("engine", lambda engine, label: engine)
