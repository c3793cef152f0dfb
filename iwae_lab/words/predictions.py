"""What a class may be asked to predict before it looks."""

from collections.abc import Sequence
from typing import NamedTuple

MOVES = ("It rises", "It stays where it is", "It falls")
UNDECIDED = "They cannot be told apart"


class Prediction(NamedTuple):
    """A question, and the answers to choose from."""

    question: str
    answers: tuple[str, ...]


def predictions(labels: Sequence[str], last: int) -> list[Prediction]:
    """Questions about the chart against k of these runs, whose largest k is `last`; plain text."""
    first = f"One model, k from 1 to {last:,}"
    asked = [
        Prediction(f"{first}: what does its dashed line (the average of the logs) do?", MOVES),
        Prediction(f"{first}: what does its solid line (the log of the average) do?", MOVES),
    ]
    if len(labels) > 1:
        ahead = (*labels, UNDECIDED)
        asked += [
            Prediction(f"In the end, which {line} line will be higher at k = {k:,}?", ahead)
            for line, k in (("solid", last), ("solid", 50), ("dashed", 50))
            if k <= last
        ]
    return asked
