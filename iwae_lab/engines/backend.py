"""Where experiments are iterated: what an engine asks of a process, many processes or a cluster."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from iwae_core.registry import Registry
from iwae_lab.engines.protocol import Order
from iwae_lab.engines.settings import EngineLimits


class Death(NamedTuple):
    """How something ended that had not told an end, whether it is of no use to try again, whether it did nothing to
    deserve it, as where its machine was taken away, and whether it was iterated at all.
    """

    reason: str
    final: bool = False
    innocent: bool = False
    begun: bool = True


class Backend(ABC):
    """Iterates experiments, each in its folder, by `runner.run`; an engine calls it from one thread at a time."""

    # Whether experiments go on by themselves. If not, each look at the engine is a moment in which they do.
    by_itself: ClassVar[bool] = True
    # Whether they go on when the engine has closed or died; the next engine on the folder then takes them over.
    outlives: ClassVar[bool] = False
    # Seconds that an order and what it leads to may be on the way.
    delay: ClassVar[float] = 0.0

    @abstractmethod
    def start(self, experiment_id: str, folder: Path, orders: Sequence[Order]) -> None:
        """Begin to iterate the experiment of a folder, and obey these orders before its first step.

        Raises:
            OSError: not now; the engine tries again.
        """

    @abstractmethod
    def send(self, experiment_id: str, order: Order) -> None:
        """Deliver an order to an experiment that was started; nothing if it has ended a moment ago."""

    @abstractmethod
    def ended(self, experiment_id: str, at_once: bool = False) -> Death | None:
        """How an experiment ended, once nothing iterates it any more; lets go of it then. None until then.

        `at_once` ends it first, in the middle of a step if need be, and always answers.
        """

    @abstractmethod
    def close(self) -> None:
        """End everything, in the middle of a step if need be."""

    def adopt(self, experiment_id: str, folder: Path) -> Order | None:
        """Take over an experiment that goes on from an engine before this one: the last order about its pace, if so."""
        return None

    def slots(self) -> float:
        """How many it could iterate at once."""
        return math.inf

    def trouble(self) -> str:
        """Why nothing can be started at present, in a sentence for visitors; empty if it can."""
        return ""

    def remark(self, folder: Path) -> str:
        """What is to be known of how an experiment was iterated, in a sentence for visitors; mostly nothing."""
        return ""

    def tend(self) -> None:  # noqa: B027  (most backends need nothing)
        """Do what is to be done now and then, such as listening to processes; called at every look or tick."""


@dataclass(frozen=True)
class BackendKind:
    """A class of backends, made from the limits of its engine."""

    make: Callable[[EngineLimits], Backend]
    label: str

    def __call__(self, limits: EngineLimits) -> Backend:
        """A new backend."""
        return self.make(limits)


BACKENDS: Registry[BackendKind] = Registry("engine", BackendKind)
