"""Polls of predictions, one at a time for each experiment: counts only, and everybody counts once.

Whoever started the experiment asks; watchers answer over the web socket. Nobody is told the counts before the poll is
closed, or the first answers would lead the others. Who has answered is known by a keyed hash, whose key is thrown away
when the poll is closed; what somebody has answered is not kept at all.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from contextlib import suppress
from hashlib import blake2b
from threading import Lock
from typing import Any

MOST = 500  # polls remembered; the oldest goes
VOTERS = 20_000  # of one poll


class Poll:
    """One question with a few answers."""

    def __init__(self, question: str, answers: Sequence[str]) -> None:
        self.name = secrets.token_hex(8)
        self.question, self.answers = question, list(answers)
        self.counts = [0] * len(answers)
        self._key: bytes | None = secrets.token_bytes(32)
        self._voters: set[bytes] = set()

    @property
    def open(self) -> bool:
        """Whether answers are still taken."""
        return self._key is not None

    def vote(self, answer: int, who: str) -> None:
        """Count an answer, unless the poll is closed or this visitor was counted before."""
        if self._key is None or len(self._voters) == VOTERS:
            return
        voter = blake2b(who.encode(), key=self._key).digest()
        if voter not in self._voters:
            self._voters.add(voter)
            self.counts[answer] += 1

    def close(self) -> None:
        """Take no more answers, and forget who has given one."""
        self._key = None
        self._voters.clear()

    def told(self) -> dict[str, Any]:
        """What browsers are told."""
        counts = None if self.open else self.counts
        return {
            "name": self.name,
            "question": self.question,
            "answers": self.answers,
            "votes": sum(self.counts),
            "counts": counts,
        }


_polls: OrderedDict[str, Poll] = OrderedDict()  # by experiment
_lock = Lock()


def ask(experiment: str, question: str, answers: Sequence[str]) -> None:
    """Begin a poll; one that the experiment has already is over."""
    with _lock:
        _polls.pop(experiment, None)
        _polls[experiment] = Poll(question, answers)
        while len(_polls) > MOST:
            _polls.popitem(last=False)


def close(experiment: str) -> None:
    """Show the counts."""
    with _lock:
        if experiment in _polls:
            _polls[experiment].close()


def put_away(experiment: str) -> None:
    """Ask nothing any more, and show no counts."""
    with _lock:
        _polls.pop(experiment, None)


def is_open(experiment: str) -> bool:
    """Whether there is a poll that takes answers."""
    with _lock:
        return experiment in _polls and _polls[experiment].open


def vote(message: str, who: str) -> None:
    """Count what a browser sends, `{"poll": NAME, "answer": NUMBER}`; what is nothing of the kind is left out."""
    with suppress(ValueError, TypeError, KeyError, RecursionError), _lock:
        sent = json.loads(message)
        poll, answer = next((poll for poll in _polls.values() if poll.name == sent["poll"]), None), sent["answer"]
        if poll and type(answer) is int and 0 <= answer < len(poll.answers):
            poll.vote(answer, who)


def told(experiment: str) -> dict[str, Any] | None:
    """What those who watch an experiment are told; None if nothing is asked."""
    with _lock:
        return _polls[experiment].told() if experiment in _polls else None


def version(experiment: str) -> Hashable:
    """Changes whenever that may."""
    with _lock:
        poll = _polls.get(experiment)
        return (poll.name, sum(poll.counts), poll.open) if poll else ()
