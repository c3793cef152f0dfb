"""Training curves."""

import numpy as np

from iwae_core.training.events import Progress, Record, Started
from iwae_lab.figures import FIGURES
from iwae_lab.history.history import History, Training
from iwae_lab.history.labels import labels
from iwae_lab.history.view import View
from tests.support.history import DIGITS, SPEC, draw, history

# Training curves.


def test_samples_drawn_follow_k_and_its_changes() -> None:
    lines = draw("curves", View(x="samples"))
    steps = np.arange(1, 9)
    swapped = 10 * np.where(steps <= 5, 5 * steps, 25 + 20 * (steps - 5))
    assert lines["VAE → IWAE: L<sub>k</sub>"].x.tolist() == swapped.tolist()  # type: ignore[attr-defined]
    assert lines["IWAE k=50: L<sub>k</sub>"].x.tolist() == (500 * steps).tolist()  # type: ignore[attr-defined]
    assert lines["figure"].layout.shapes[0].x0 == 250  # type: ignore[attr-defined]


def test_seconds_are_those_of_the_records_where_costs_are_not_told() -> None:
    lines = draw("curves", View(x="seconds"))
    wanted = [0.5 * number for number in (2, 3, 4, 5, 6, 9, 10, 11)]
    assert lines["IWAE k=5: ELBO"].x.tolist() == wanted  # type: ignore[attr-defined]
    assert lines["figure"].layout.xaxis.title.text == "seconds of processor time"  # type: ignore[attr-defined]


def trained(cost: tuple[float, ...], history: History) -> History:
    """Four steps of three runs, with a record every half second."""
    first = Started(SPEC.to_json(), np.zeros((DIGITS, 784), np.uint8))
    steps = [Progress(step, (-100.0,) * 3, (-95.0,) * 3, tuple(step * c for c in cost)) for step in range(1, 5)]
    return history.extend(Record(number, 0.5 * number, event) for number, event in enumerate([first, *steps]))


def test_seconds_are_what_each_run_alone_has_cost() -> None:
    figure = FIGURES["curves"](trained((0.5, 1.0, 2.0), History()), View(x="seconds"))
    found = {trace.name: trace.x.tolist() for trace in figure.data}
    # Step n costs n times as much as the first: 1, 1 + 2, 1 + 2 + 3, 1 + 2 + 3 + 4 times.
    for label, first in zip(labels(SPEC), (0.5, 1.0, 2.0), strict=True):
        for bound in ("ELBO", "L<sub>k</sub>"):
            assert found[f"{label}: {bound}"] == [first * total for total in (1, 3, 6, 10)]
    assert figure.layout.xaxis.range == (0, 20)


def test_rows_kept_have_an_axis_of_their_own_where_not_all_are() -> None:
    whole = trained((1.0, 1.0, 1.0), History())
    assert "yaxis2" not in FIGURES["curves"](whole, View()).layout.to_plotly_json()
    first, steps = Started(SPEC.to_json(), np.zeros((DIGITS, 784), np.uint8)), range(1, 5)
    told = [Progress(step, (-100.0,) * 3, (-95.0,) * 3, (), (1.0, 0.1 * step, 0.25)) for step in steps]
    some = History(Record(number, 0.5 * number, event) for number, event in enumerate([first, *told]))
    figure = FIGURES["curves"](some, View())
    kept = {trace.name: trace.y.tolist() for trace in figure.data if trace.yaxis == "y2"}
    assert kept == {"IWAE k=5: rows kept": [10, 20, 30, 40], "IWAE k=50: rows kept": [25] * 4}
    assert figure.layout.yaxis2.range == (0, 100)
    assert "IWAE k=50: 25% of the rows kept" in FIGURES["curves"].summary(some, View())
    assert "VAE: 100%" not in FIGURES["curves"].summary(some, View())


def test_curves_can_be_drawn_while_another_thread_appends() -> None:
    class Growing(History):
        """Grows by one step whenever its steps have been read."""

        growing = False

        @property
        def training(self) -> Training:
            rows = super().training
            if self.growing:
                event = Progress(self.length, (-100.0,) * 3, (-95.0,) * 3, (1.0,) * 3)
                self.extend([Record(self.length, 0.5 * self.length, event)])
            return rows

    growing = Growing()
    trained((1.0,) * 3, growing)
    growing.growing = True
    for x in "steps", "samples", "seconds":
        assert FIGURES["curves"](growing, View(x=x)).data


def test_swaps_and_the_evaluation_in_view_are_marked() -> None:
    def marks(**view: object) -> list[float]:
        return [shape.x0 for shape in FIGURES["curves"](history(), View(**view)).layout.shapes]  # type: ignore[arg-type]

    assert marks() == [5]
    assert marks(at=1) == [5]
    assert marks(at=0) == [5, 0]
    assert sorted(marks(at=0, x="samples")) == [0, 250]
