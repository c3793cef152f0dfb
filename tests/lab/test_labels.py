"""Labels of runs, and the view."""

import numpy as np
import pytest

from iwae_core.training.events import Record, Started, Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.figures import FIGURES
from iwae_lab.history.history import History
from iwae_lab.history.labels import labels
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from tests.support.history import KS, RUNS, SPEC, draw, history, snapshot

# Labels.


def test_labels_say_what_tells_the_runs_apart_and_no_more() -> None:
    def of(*runs: RunSpec) -> list[str]:
        return labels(ExperimentSpec(runs=runs))

    assert of(RunSpec("vae", 5), RunSpec("iwae", 50)) == ["VAE", "IWAE"]
    assert of(*RUNS) == ["VAE", "IWAE k=5", "IWAE k=50"]
    assert of(RunSpec("iwae", 5), RunSpec("iwae", 5, "two_layer")) == ["IWAE one_layer", "IWAE two_layer"]
    assert of(RunSpec("renyi", 5), RunSpec("renyi", 5, alpha=0.0)) == ["Rényi", "Rényi alpha=0.0"]
    rows = of(RunSpec("iwae", backward="all"), RunSpec("iwae"))
    assert rows == ["IWAE backward=all", "IWAE backward=counting"]
    assert of(RunSpec("vae", 5), RunSpec("vae", 5)) == ["VAE #1", "VAE #2"]
    both = of(RunSpec("iwae", 5), RunSpec("iwae", 50), RunSpec("iwae", 50, "two_layer"))
    assert len(set(both)) == 3


def test_labels_follow_swaps() -> None:
    spec = ExperimentSpec(runs=(RunSpec("vae", 5), RunSpec("vae", 5)))
    assert labels(spec, [Swapped(9, 0, "iwae", 5)]) == ["VAE → IWAE", "VAE"]
    assert labels(spec, [Swapped(9, 1, "vae", 50)]) == ["VAE", "VAE k=5 → VAE k=50"]
    models = ExperimentSpec(runs=(RunSpec("iwae", 5), RunSpec("iwae", 5, "two_layer")))
    swaps = [Swapped(9, 1, "vae", 5), Swapped(9, 0, "vae", 5)]
    assert labels(models, swaps) == [f"IWAE {name} → VAE {name}" for name in ("one_layer", "two_layer")]
    assert history().labels == ["VAE → IWAE", "IWAE k=5", "IWAE k=50"]
    assert History().labels == []


def test_a_label_that_a_planned_swap_will_change_is_not_changed_before() -> None:
    assert History(Record(0, 0.0, event) for event in [Started(SPEC.to_json(), np.zeros((1, 4), np.uint8))]).labels == [
        "VAE",
        "IWAE k=5",
        "IWAE k=50",
    ]


# The view.


def test_the_view_chooses_the_evaluation() -> None:
    for at, seed in ((-1, 1), (0, 0), (1, 1), (-2, 0), (17, 1)):
        reading = read_at(history(), View(k=10, at=at))
        assert reading is not None
        wanted = snapshot(seed=seed).iwae[1, list(KS).index(10)].astype(float)
        assert float(reading.iwae[1].mean) == pytest.approx(wanted.mean())
        line = draw("bounds", View(at=at))["IWAE k=5: L<sub>k</sub>"]
        assert line.y == pytest.approx(snapshot(seed=seed).iwae[1].mean(1), rel=1e-6)  # type: ignore[attr-defined]


def test_a_k_between_those_evaluated_is_read_at_the_smaller_one() -> None:
    reading = read_at(history(), View(k=99))
    assert reading is not None
    assert reading.k == 50
    assert FIGURES["bounds"](history(), View(k=99)).layout.shapes[0].x0 == 50
