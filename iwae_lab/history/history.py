"""What a run has shown so far: the fold of its records, ready to be plotted."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from iwae_core.evaluation.estimate import Floats
from iwae_core.training.events import Closeup, Failed, Finished, Progress, Record, Snapshot, Started, Swapped
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.history.labels import labels


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
