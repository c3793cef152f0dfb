"""Unfinished experiments, and the rules by which they get a slot, or lose it. No clock, no files, no processes."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import count
from operator import attrgetter

from iwae_core.training.events import Failed, Finished
from iwae_lab.engines.protocol import Order, Pause, Slow, Step
from iwae_lab.engines.settings import EngineLimits


class State(StrEnum):
    """What an experiment is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    ELSEWHERE = "on another server"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def active(self) -> bool:
        """Whether more events may come."""
        return self in (State.QUEUED, State.RUNNING, State.PAUSED, State.STOPPING, State.ELSEWHERE)

    @classmethod
    def of(cls, outcome: Finished | Failed) -> "State":
        """That of an experiment that has ended."""
        if isinstance(outcome, Failed):
            return cls.FAILED
        return cls.STOPPED if outcome.stopped else cls.COMPLETED


class EngineFullError(RuntimeError):
    """No further experiment is taken on; the message says why, what is allowed and what to do."""


class Phase(Enum):
    """Where a job stands: waiting for a slot, having one, saving its state to give it up, or paused without one."""

    WAITING = auto()
    STARTED = auto()
    LEAVING = auto()
    PARKED = auto()


@dataclass(eq=False)
class Job:
    """An experiment in the care of an engine. Times are of one clock that never goes back, in seconds."""

    experiment_id: str
    owner: str
    number: int  # smaller: came first
    touched: float
    address: str = ""  # where its visitor came from; empty if that is not known, or this machine
    phase: Phase = Phase.WAITING
    paused: bool = False  # on command
    seen: bool = False  # somebody has watched it, if only once
    unwatched: bool = False
    slow: bool = False
    held_since: float = 0.0
    orders: list[Order] = field(default_factory=list)  # to obey when it starts
    ending: str = ""  # why it is to be stopped
    due: float = math.inf  # when its process is killed, unless it has ended or let go by itself
    deaths: int = 0  # of its process since its last checkpoint
    restarts: int = 0
    revived_at: int = 0  # the step from which it last went on
    checkpoint: int = 0  # which one, when its process last died

    @property
    def held(self) -> bool:
        """Whether it is to make no steps now."""
        return self.paused or self.unwatched

    @property
    def waits_for_resume(self) -> bool:
        """Whether it needs no slot until somebody resumes it; a step that was asked for needs one."""
        return self.held and Step() not in self.orders

    @property
    def has_slot(self) -> bool:
        """Whether it takes a slot."""
        return self.phase in (Phase.STARTED, Phase.LEAVING)

    @property
    def aside(self) -> bool:
        """Whether it keeps nobody else from anything: unwatched, and without a slot."""
        return self.unwatched and not self.has_slot

    @property
    def state(self) -> State:
        """What its experiment is doing, as long as that has not ended."""
        if self.ending:
            return State.STOPPING
        if self.phase is Phase.WAITING or (self.phase is Phase.LEAVING and not self.held):
            return State.QUEUED
        return State.PAUSED if self.held else State.RUNNING

    def hold(self, now: float) -> None:
        """Make no steps until it is let go."""
        self.paused, self.slow, self.held_since = True, False, now
        self._forget_steps()

    def let_go(self, slow: bool) -> None:
        """Make steps again."""
        self.paused, self.slow = False, slow
        self._forget_steps()

    def _forget_steps(self) -> None:
        self.orders = [order for order in self.orders if order != Step()]

    def opening(self) -> list[Order]:
        """The orders to begin with, handed out once."""
        orders, self.orders = self.orders, []
        if Step() in orders:
            return orders
        return [*orders, *([Pause()] if self.held else [Slow()] if self.slow else [])]

    def died(self, checkpoint: int) -> int:
        """Note that its process died when this was its last checkpoint; how often that has happened with the same."""
        self.deaths = self.deaths + 1 if checkpoint == self.checkpoint else 1
        self.checkpoint = checkpoint
        return self.deaths


class Jobs:
    """All unfinished experiments of an engine.

    Slots go to the address with the fewest, there to the owner with the fewest, and to the first who came among these.
    So a crowd of names from one address, which costs nothing, keeps nobody elsewhere from the next slot. One that is
    paused keeps its slot as long as nobody needs it, and for `grace` seconds if somebody does; then it saves its state
    and gives the slot up. When it is resumed it waits for one again. Those that nobody watches give theirs up at once,
    and get none: they keep nobody else waiting, and do not count among those who wait.
    """

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.slots = limits.slots  # or fewer, as many as there are at the moment
        self._jobs: dict[str, Job] = {}
        self._numbers = count()

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def get(self, experiment_id: str) -> Job | None:
        """The job of an experiment; None if it has ended, or is nobody's."""
        return self._jobs.get(experiment_id)

    def admit(self, owner: str, address: str = "") -> Job | None:
        """Let this owner have a further experiment; returns the job that has to end for it. Nobody has no limit.

        An address has one too, as a visitor without a cookie has a new name at each visit.

        Raises:
            EngineFullError: no, and why.
        """
        limits = self.limits
        own = sum(job.owner == owner for job in self)
        if owner and own >= limits.per_visitor:
            raise EngineFullError(
                f"you have {own} unfinished experiments here, and {limits.per_visitor} are allowed; "
                "stop one of them, or wait for one to end"
            )
        there = sum(job.address == address and not job.aside for job in self)
        if address and there >= limits.per_address:
            raise EngineFullError(
                f"{there} unfinished experiments were started from your network, and {limits.per_address} are allowed; "
                "stop one of yours, or try again in some minutes"
            )
        waiting = len(self.order())
        if waiting >= limits.queue and sum(job.has_slot for job in self) >= self.slots:
            raise EngineFullError(
                f"{self.slots} experiments are training here and {waiting} are waiting, "
                f"and no more than {limits.queue} may wait; try again in some minutes"
            )
        if len(self._jobs) < limits.unfinished:
            return None
        if left := [job for job in self if job.aside]:
            return min(left, key=lambda job: job.touched)
        raise EngineFullError(
            f"{len(self._jobs)} unfinished experiments are here, and no more are allowed; try again in some minutes"
        )

    def add(self, experiment_id: str, owner: str, now: float, address: str = "") -> Job:
        """A new job, last in the queue."""
        job = self._jobs[experiment_id] = Job(experiment_id, owner, next(self._numbers), now, address)
        return job

    def remove(self, job: Job) -> None:
        """Forget an experiment that has ended."""
        self._jobs.pop(job.experiment_id, None)

    def queue_again(self, job: Job) -> None:
        """Let a parked job wait for a slot, behind all others."""
        job.phase, job.number = Phase.WAITING, next(self._numbers)

    def order(self) -> list[Job]:
        """Those who wait, in the order in which they will get a slot if none becomes free but one after the other."""
        waiting = [job for job in self if job.phase is Phase.WAITING and not job.unwatched]
        waiting.sort(key=lambda job: job.number)
        for whose in attrgetter("owner"), attrgetter("address"):  # the last order counts first
            slots, turns = Counter(whose(job) for job in self if job.has_slot), dict[Job, int]()
            for job in waiting:
                turns[job] = slots[whose(job)]
                slots[whose(job)] += 1
            waiting.sort(key=turns.__getitem__)
        return waiting

    def to_start(self) -> list[Job]:
        """Those who get the slots that are free now."""
        return self.order()[: max(0, self.slots - sum(job.has_slot for job in self))]

    def to_park(self, now: float) -> list[Job]:
        """Those who must give up their slots for the ones that wait now, longest held first."""
        leaving = sum(job.phase is Phase.LEAVING for job in self)
        held = [
            job
            for job in self
            if job.phase is Phase.STARTED and job.held
            if job.unwatched or now - job.held_since >= self.limits.grace
        ]
        needed = max(0, len(self.order()) - leaving)
        return sorted(held, key=lambda job: job.held_since)[:needed]
