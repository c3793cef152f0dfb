"""What an experiment has shown so far: the fold of its records, ready to be plotted."""

from collections.abc import Iterable
from typing import NamedTuple

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


class Training(NamedTuple):
    """The steps made so far, a row each: both bounds of each run on its minibatch in nats, and what the step cost it.

    `seconds` count from the beginning; `costs` are seconds of processor time, NaN where the log does not tell; `kept`
    are the shares of the samples that took part in the backward pass.
    """

    steps: Floats  # [rows]
    seconds: Floats  # [rows]
    elbo: Floats  # [rows, runs]
    iwae: Floats  # [rows, runs]
    costs: Floats  # [rows, runs]
    kept: Floats  # [rows, runs]


class History:
    """The fold of an experiment's records. Knows nothing until `Started` has been added."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._clear()
        self.extend(records)

    def _clear(self) -> None:
        self.length = 0
        self.seconds = 0.0
        self.snapshots: list[Snapshot] = []
        self.evaluated: list[float] = []  # seconds until each of them was there
        self.swaps: list[Swapped] = []
        self.closeup: Closeup | None = None  # the newest
        self.outcome: Finished | Failed | None = None
        self.spec: ExperimentSpec | None = None
        self.originals: NDArray[np.uint8] | None = None
        self._training = Table(2)

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
                self._training = Table(2 + 4 * len(self.spec.runs))
            case Progress(step, elbo, iwae, cost, kept) if self.spec:
                unknown, whole = (np.nan,) * len(elbo), (1.0,) * len(elbo)
                self._training.append((step, record.seconds, *elbo, *iwae, *(cost or unknown), *(kept or whole)))
            case Snapshot() as snapshot:
                self.evaluated.append(record.seconds)
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
    def training(self) -> Training:
        """All steps so far. Another thread may be adding more: read once what belongs together."""
        rows = self._training.rows
        return Training(rows[:, 0], rows[:, 1], *np.split(rows[:, 2:], 4, axis=1))

    @property
    def step(self) -> int:
        """Training steps made so far."""
        steps = self.training.steps
        return int(steps[-1]) if len(steps) else 0

    def steps_per_second(self, window: float = 10.0) -> float | None:
        """Speed over the last `window` seconds of training, evaluation included; None before there is any."""
        steps, seconds, *_ = self.training
        recent = seconds >= seconds[-1:] - window
        steps, seconds = steps[recent], seconds[recent]
        if len(steps) < 2 or seconds[-1] == seconds[0]:
            return None
        return float((steps[-1] - steps[0]) / (seconds[-1] - seconds[0]))
