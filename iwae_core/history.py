"""What a run has shown so far: the fold of its records, ready to be plotted."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iwae_core.events import Closeup, Failed, Finished, Progress, Record, Snapshot, Started, Swapped
from iwae_core.spec import SETTINGS, ExperimentSpec, RunSpec

Floats = NDArray[np.floating[Any]]


class Estimate(NamedTuple):
    """A mean over images and its standard error, in nats."""

    mean: Floats
    stderr: Floats


def estimate(values: Floats) -> Estimate:
    """Mean and standard error over the last axis, `[..., images]` to `[...]`, accumulated in float64.

    The error is that of a fresh draw of images and noise: sd / sqrt(images). Give it differences of two runs on the
    same images and it is the paired error of the comparison.
    """
    images = values.shape[-1]
    return Estimate(values.mean(-1, dtype=np.float64), values.std(-1, ddof=1, dtype=np.float64) / np.sqrt(images))


class Table:
    """Rows of floats that grow at the end; `rows` is a view, safe to read while another thread appends."""

    def __init__(self, columns: int) -> None:
        self._data = np.empty((1024, columns))
        self._length = 0

    def append(self, row: Iterable[float]) -> None:
        """Add one row, doubling the space when it is used up."""
        if self._length == len(self._data):
            self._data = np.concatenate([self._data, np.empty_like(self._data)])
        self._data[self._length] = np.fromiter(row, float)
        self._length += 1

    @property
    def rows(self) -> Floats:
        """`[rows, columns]`."""
        return self._data[: self._length]


def labels(spec: ExperimentSpec, swaps: Sequence[Swapped] = ()) -> list[str]:
    """A name for each run that tells it from the others: its estimators in order, and no more than is needed.

    "VAE", "IWAE" where estimators differ, "IWAE k=5", "IWAE k=50" where they do not, "VAE → IWAE" after a swap.
    """
    chains = [[run] for run in spec.runs]
    for swap in swaps:
        chains[swap.run].append(chains[swap.run][-1].swapped(swap.estimator, swap.k))
    names = [_chain(chain, ()) for chain in chains]
    for details in DETAILS:
        twins = [names.count(name) > 1 for name in names]
        told = [
            _chain(chain, details) if twin else name for chain, name, twin in zip(chains, names, twins, strict=True)
        ]
        if len(set(told)) > len(set(names)):
            names = told
    return [f"{name} #{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


# What may tell runs of one estimator apart, tried in order.
DETAILS = (("k",), ("model",), SETTINGS, ("k", "model", *SETTINGS))


def _chain(chain: Sequence[RunSpec], details: Sequence[str]) -> str:
    """The estimators of a run in order, each with its details; k too where a swap changes nothing else."""
    if not details and any(a.estimator == b.estimator for a, b in pairwise(chain)):
        details = ("k",)
    return " → ".join(" ".join([run.label, *_told(run, details)]) for run in chain)


def _told(run: RunSpec, details: Sequence[str]) -> list[str]:
    values = {name: getattr(run, name) for name in details}
    return [f"{name}={value}" if name != "model" else value for name, value in values.items() if value is not None]


class History:
    """The fold of a run's records. Knows nothing until `Started` has been added."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._clear()
        self.extend(records)

    def _clear(self) -> None:
        self.length = 0
        self.seconds = 0.0
        self.snapshots: list[Snapshot] = []
        self.swaps: list[Swapped] = []
        self.closeup: Closeup | None = None  # the newest
        self.outcome: Finished | Failed | None = None
        self.spec: ExperimentSpec | None = None
        self.originals: NDArray[np.uint8] | None = None
        self._progress: Table | None = None
        self._costs = Table(0)

    def extend(self, records: Iterable[Record]) -> "History":
        """Add the next records; one numbered 0 begins anew."""
        for record in records:
            if record.number == 0:
                self._clear()
            self._add(record)
            self.length = record.number + 1
            self.seconds = record.seconds
        return self

    def _add(self, record: Record) -> None:
        match record.event:
            case Started(spec, originals):
                self.spec, self.originals = ExperimentSpec.from_json(spec), originals
                self._progress = Table(2 + 2 * len(self.spec.runs))
                self._costs = Table(len(self.spec.runs))
            case Progress(step, elbo, iwae, cost) if self._progress is not None:
                self._costs.append(cost or (np.nan,) * len(elbo))  # first: `progress` is never the longer one
                self._progress.append((step, record.seconds, *elbo, *iwae))
            case Snapshot() as snapshot:
                self.snapshots.append(snapshot)
            case Closeup() as closeup:
                self.closeup = closeup
            case Swapped() as swapped:
                self.swaps.append(swapped)
            case Finished() | Failed() as outcome:
                self.outcome = outcome

    @property
    def labels(self) -> list[str]:
        """A name for each run, see `labels`; of no run before `Started`."""
        return labels(self.spec, self.swaps) if self.spec else []

    @property
    def progress(self) -> Floats:
        """One row a step: step, seconds, the ELBO of each run, L_k of each run."""
        return np.empty((0, 2)) if self._progress is None else self._progress.rows

    @property
    def costs(self) -> Floats:
        """One row a step: the processor time it took each run, in seconds; NaN where the log does not tell.

        Another thread may have appended since `progress` was read: use as many rows as that had.
        """
        return self._costs.rows

    @property
    def step(self) -> int:
        """Training steps made so far."""
        return int(self.progress[-1, 0]) if len(self.progress) else 0

    def steps_per_second(self, window: float = 10.0) -> float | None:
        """Speed over the last `window` seconds of training, evaluation included; None before there is any."""
        rows = self.progress
        recent = rows[rows[:, 1] >= rows[-1, 1] - window] if len(rows) else rows
        if len(recent) < 2 or recent[-1, 1] == recent[0, 1]:
            return None
        return float((recent[-1, 0] - recent[0, 0]) / (recent[-1, 1] - recent[0, 1]))
