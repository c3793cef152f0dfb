"""What an engine allows and how long it waits: the settings of a server."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec

from iwae_core.training.fields import SpecError, check, in_environment, limits, number

SCHEDULER = "IWAE_SCHEDULER"
ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}")


@dataclass(frozen=True)
class EngineLimits:
    """How much an engine takes on. Those with a range are settings of a server: `grace` is read from IWAE_GRACE.

    Times are in seconds, sizes in MB of 1,000,000 bytes.

    Raises:
        SpecError: a setting that is out of range.
    """

    slots: int = number(os.cpu_count() or 1, 1, 1000, "runs that train at the same time")
    queue: int = number(200, 0, 100_000, "runs that may wait for a slot")
    unfinished: int = number(500, 1, 100_000, "unfinished runs in all, those that nobody watches included")
    per_visitor: int = number(12, 1, 100_000, "unfinished runs of one visitor, paused ones included")
    per_address: int = number(150, 1, 100_000, "the same for all visitors from one address")
    grace: float = number(120.0, 0.0, 1e9, "seconds until a run that nobody watches is paused")
    abandon: float = number(1800.0, 0.0, 1e9, "further seconds until it is stopped")
    quota_mb: float = number(2000.0, 0.0, 1e9, "MB of all runs on disk, beyond which the oldest go")
    memory_mb: int = number(3000, 700, 1_000_000, "MB of memory of one run")
    hang: float = 10.0  # seconds without a heartbeat until a worker counts as dead
    tick: float = 0.5  # seconds between two looks at everything
    away: float = 15.0  # the same for one that waits, or that nobody has ever watched
    patience: float = 1.7  # seconds that a worker has to save its state before it is killed
    farewell: float = 5.0  # seconds that all workers together have to save their state when the engine closes

    def __post_init__(self) -> None:
        check(self)


def from_environment(environment: Mapping[str, str] = os.environ) -> EngineLimits:
    """The limits that IWAE_SLOTS and its like ask for; what is not set keeps its default.

    With a cluster that is as many slots as it has, not as this machine has.

    Raises:
        SpecError: a variable that is no number, or out of range.
    """
    given = in_environment(EngineLimits, environment)
    if scheduler(environment):
        given.setdefault("slots", limits(EngineLimits)["slots"].maximum)
    return EngineLimits(**given)


def unattended() -> EngineLimits:
    """The limits of an engine that works for a command: it deletes nothing, and waits an hour for the next look."""
    return replace(from_environment(), quota_mb=limits(EngineLimits)["quota_mb"].maximum, grace=3600.0, away=3600.0)


def scheduler(environment: Mapping[str, str] = os.environ) -> str:
    """The address of the scheduler of the cluster that iterates experiments; empty if this machine does.

    Raises:
        SpecError: it is none, or what speaks with it is not installed.
    """
    address = environment.get(SCHEDULER, "")
    if address and find_spec("distributed") is None:
        raise SpecError(f"{SCHEDULER} needs Dask: pip install -r requirements-cluster.txt, or take the variable away")
    if address and not ADDRESS.fullmatch(address):
        raise SpecError(f"{SCHEDULER} must be an address such as tls://scheduler.example.org:8786; got {address!r}")
    return address


def chosen_backend(environment: Mapping[str, str] = os.environ) -> str:
    """The name of the backend that a server uses."""
    return "cluster" if scheduler(environment) else "local"
