"""The real draws behind the opening picture: read without torch, so that it is shown before anything is loaded."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[1] / "assets" / "opening.json"


class Opening(NamedTuple):
    """Log-weights of draws for one digit under a shipped model, in nats, and what many more draws tell of them.

    `log_weights` are int16 hundredths in base64, the draws in order. `bands` hold the central 80 in 100 of both
    formulas over sets of `k` draws each. `log_p` is L_k at a very large k, with its standard error. `digit` is a
    picture.
    """

    model: str
    digit_class: int
    digit: str
    log_weights: str
    log_p: float
    log_p_stderr: float
    samples: int
    bands: dict[str, list[list[float]] | list[int]]


@cache
def opening() -> Opening:
    """What `python -m tools.opening` has stored."""
    return Opening(**json.loads(FILE.read_text(encoding="utf-8")))
