"""The price of certainty: how far a training has to go until it is certainly ahead of the VAE, measured.

Every run goes on from the same trained VAE, and so does the VAE, as in the page's first experiment. Both are evaluated
after the same steps, whatever the run. In a clone, `python -m benchmarks.certainty --write` measures.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History
from iwae_lab.history.verdict import verdicts
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.proof import PROOF

STORED = Path(__file__).parents[1] / "assets" / "certainty.json"
VAE = PROOF.runs[0]
TRAINED = ("vae", 500), ("iwae", 5), ("iwae", 50), ("iwae", 500), ("dreg", 50), ("stl", 50), ("iwae_one_sample", 50)
RUNS = tuple(RunSpec(estimator, k, backward="all") for estimator, k in TRAINED)
LOOKS = 3  # in a row that have to find the lead certain


class Found(NamedTuple):
    """The steps, and what they cost the run in seconds of processor time, until its lead was certain or to the end."""

    certain: bool
    step: int
    seconds: float


class Amount(NamedTuple):
    """How much it took; or how much it was, without the lead being certain."""

    certain: bool
    value: float


class Row(NamedTuple):
    """All trainings of one run against the VAE."""

    run: RunSpec
    found: tuple[Found, ...]

    def steps(self) -> list[Amount]:
        """Of each training, the least first and those without a certain lead last."""
        return self._sorted(lambda found: found.step)

    def samples(self) -> list[Amount]:
        """The same in samples drawn."""
        return self._sorted(lambda found: found.step * PROOF.batch_size * self.run.k)

    def seconds(self) -> list[Amount]:
        """The same in seconds of processor time."""
        return self._sorted(lambda found: found.seconds)

    def _sorted(self, amount: Callable[[Found], float]) -> list[Amount]:
        amounts = [Amount(found.certain, amount(found)) for found in self.found]
        return sorted(amounts, key=lambda each: (not each.certain, each.value))


class Measured(NamedTuple):
    """What was stored: a row for each of `RUNS`, evaluated every so many steps, and where and when it was measured."""

    rows: tuple[Row, ...]
    every: int
    model: str
    processor: str
    date: str


def median(amounts: list[Amount]) -> Amount:
    """The middle one; of an even number the greater of the two."""
    return amounts[len(amounts) // 2]


def experiment(run: RunSpec, seed: int = 0) -> ExperimentSpec:
    """The run against the VAE, as the laboratory trains it."""
    return replace(PROOF, runs=(VAE, run), seed=seed)


def found(history: History) -> Found:
    """Since when the second of two runs has been certainly ahead at so many looks; not yet, where there are fewer."""
    (verdict,) = verdicts(history)
    since = verdict.since.step if verdict.since and verdict.lead.mean > 0 else None
    certain = since in [snapshot.step for snapshot in history.snapshots[: 1 - LOOKS]]
    step = since if since and certain else history.step
    training = history.training
    return Found(certain, step, float(training.costs[training.steps <= step, 1].sum()))


@cache
def measured(path: Path = STORED) -> Measured | None:
    """What was stored; None if a run is missing, or it was measured from another model than is shipped now."""
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if manifest().get(stored.get("model", ""), {}).get("sha256") != stored.get("sha256", ""):
        return None
    rows = [Row(run, tuple(Found(*each[3:]) for each in stored["found"] if each[:2] == key(run))) for run in RUNS]
    if not all(row.found for row in rows):
        return None
    return Measured(tuple(rows), *(stored[name] for name in Measured._fields[1:]))


def key(run: RunSpec) -> list[str | int]:
    """How a stored number begins: whose it is."""
    return [run.estimator, run.k]
