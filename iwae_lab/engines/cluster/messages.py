"""What a server and the workers of its cluster say to each other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from iwae_lab.engines.backend import Death
from iwae_lab.engines.cluster.identity import Identity

Key: TypeAlias = tuple[str, int]  # an experiment, and which attempt at it


class Deposit(NamedTuple):
    """Everything needed to go on with an experiment after its first `records` records; orders are encoded."""

    experiment_id: str
    attempt: int
    files: Mapping[str, bytes]
    records: int
    orders: Sequence[str]


class Ask(NamedTuple):
    """What has come since record number `since` and since this checkpoint, and orders from number `first` on."""

    experiment_id: str
    attempt: int
    since: int
    checkpoint: int
    first: int = 0
    orders: Sequence[str] = ()


class Drop(NamedTuple):
    """End an attempt at once, and forget it."""

    experiment_id: str
    attempt: int


Request: TypeAlias = Deposit | Ask | Drop


class Report(NamedTuple):
    """The answer to an `Ask`: whole lines of the log from record `since` on.

    A checkpoint is told after all the records that it knows of, an end after everything else.
    """

    experiment_id: str
    attempt: int
    since: int
    lines: bytes
    orders: int  # how many it has had
    version: int = 0  # of the last checkpoint told
    checkpoint: bytes = b""
    death: Death | None = None


class Answer(NamedTuple):
    """What a worker says to a visit. Guests are the attempts it holds, ended or not.

    What it suffers from, such as a full disk, keeps it from taking in others.
    """

    identity: Identity
    threads: int
    busy: int  # of them
    guests: Sequence[Key]
    reports: Sequence[Report]
    suffers: str = ""
