"""What an engine says to whatever iterates an experiment, and what a worker process tells besides the log."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, get_args

STOPPED = "stopped by hand"


@dataclass(frozen=True)
class Pause:
    """Make no step until told otherwise."""


@dataclass(frozen=True)
class Resume:
    """Make steps at full speed."""


@dataclass(frozen=True)
class Step:
    """Make one step, then pause."""


@dataclass(frozen=True)
class Slow:
    """Make a step every few seconds, until `Pause` or `Resume`."""


@dataclass(frozen=True)
class Checkpoint:
    """Save the state."""


@dataclass(frozen=True)
class SwapNow:
    """Go on with another estimator and k in run number `run` (from 0); weights and moments continue."""

    run: int
    estimator: str
    k: int


@dataclass(frozen=True)
class Stop:
    """Save the state and come to the end."""

    reason: str = STOPPED


@dataclass(frozen=True)
class Leave:
    """Save the state and let go, without an end in the log: the experiment goes on elsewhere, or later."""


@dataclass(frozen=True)
class Begin:
    """To a worker process: iterate the experiment of a folder, in so many MB; `orders`, encoded, come first."""

    folder: str
    memory_mb: int
    orders: Sequence[str] = ()


Command: TypeAlias = Pause | Resume | Step | Slow | Checkpoint | SwapNow | Stop  # what a visitor may ask for
Order: TypeAlias = Command | Leave
Message: TypeAlias = Order | Begin
KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> str:
    """One line of JSON."""
    return json.dumps({type(message).__name__: asdict(message)})


def decode(line: str) -> Message:
    """The message written by `encode`."""
    content: dict[str, dict[str, Any]] = json.loads(line)
    ((kind, values),) = content.items()
    return KINDS[kind](**values)


BEAT = b"."  # once every second, for as long as it lives
READY = b"!"  # its experiment is over, or given up with its state saved, and it could take another
DISK_FULL = 74  # its exit code when it could not even write how the experiment ended
