"""Every figure of the registry shows the numbers of the history, and says so in words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plotly.utils import PlotlyJSONEncoder

from iwae_core.training.events import Closeup, Event, Progress, Record, Snapshot, Started, Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.figures import FIGURES
from iwae_lab.history.history import History, Training
from iwae_lab.history.labels import labels
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.records.log import read_log

RUNS = (RunSpec("vae", 5), RunSpec("iwae", 5), RunSpec("iwae", 50))
SPEC = ExperimentSpec(runs=RUNS, eval_images=40, eval_k=100, steps=100, batch_size=10)
KS = np.array(SPEC.eval_ks)
SIDE, DIGITS, SHOWN = 5, 4, 50
RECORDED = Path(__file__).parents[2] / "iwae_lab/assets/recorded/vae_iwae_k50.jsonl.xz"


def snapshot(step: int = 0, seed: int = 0) -> Snapshot:
    """Three runs; log p(x) of the second is known, and the third has no latent plane."""
    rng = np.random.default_rng(seed)
    iwae = -90 - 20 / np.sqrt(KS)[:, None] + rng.normal(0, 1, (3, 1, 40)) + np.arange(3)[:, None, None]
    spread = 3 / np.sqrt(KS) * np.ones((3, 2, 1))
    spread[:, 1, -1] = np.nan
    log_p = np.full((3, 40), np.nan)
    log_p[1] = -88.5 + rng.normal(0, 0.1, 40)
    plane_q = rng.normal(0, 1, (3, DIGITS, 2, 2)) ** 2
    plane_q[2] = np.nan
    digits = np.zeros((3, DIGITS, 784), np.uint8)
    return Snapshot(
        step,
        iwae.astype(np.float32),
        iwae[:, 0].astype(np.float32),
        digits,
        digits,
        spread=spread.astype(np.float32),
        log_weights=rng.normal(-90, 2, (3, SHOWN, DIGITS)).astype(np.float32),
        active=np.array([3, 4, 5], np.int32),
        units=np.array([50, 50, 50], np.int32),
        log_p=log_p.astype(np.float32),
        plane=rng.integers(0, 256, (3, DIGITS, SIDE, SIDE)).astype(np.uint8),
        plane_box=np.tile(np.array([1.0, -2.0, 0.5], np.float32), (3, DIGITS, 1)),
        plane_q=plane_q.astype(np.float32),
        plane_samples=rng.normal(0, 1, (3, SHOWN, DIGITS, 2)).astype(np.float16),
    )


def closeup() -> Closeup:
    rng = np.random.default_rng(1)
    before = rng.normal(-100, 5, (3, SHOWN)).astype(np.float32)
    pulls = np.full((3, SHOWN), 0.02, np.float32)
    before[:2, 5:] = pulls[:2, 5:] = np.nan
    bounds = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    image, decoded = np.zeros(784, np.uint8), np.zeros((3, 10, 784), np.uint8)
    return Closeup(8, (5, 5, 50), image, before, before + 1, pulls, bounds, decoded)


def history() -> History:
    events: list[Event] = [Started(SPEC.to_json(), np.zeros((DIGITS, 784), np.uint8)), snapshot()]
    events += [Progress(step, (-100.0,) * 3, (-95.0, -96.0, -97.0)) for step in range(1, 6)]
    events += [Swapped(5, 0, "iwae", 20), snapshot(5, seed=1)]
    events += [Progress(step, (-100.0,) * 3, (-95.0, -96.0, -97.0)) for step in range(6, 9)]
    return History(Record(number, 0.5 * number, event) for number, event in enumerate([*events, closeup()]))


def draw(name: str, view: View | None = None) -> dict[str, object]:
    """The figure's lines and markers by name, and its traces without a name under "rest"."""
    figure = FIGURES[name](history(), view or View())
    return {trace.name: trace for trace in figure.data if trace.name} | {"figure": figure}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_survives_histories_that_lack_what_it_shows(name: str) -> None:
    entry = FIGURES[name]
    nothing = entry(History(), View())
    assert not nothing.data
    assert nothing.layout.annotations[0].text == entry.summary(History(), View())
    older = History(read_log(RECORDED))
    for view in (View(), View(k=5000), View(k=3, at=0, x="samples", digit=9), View(at=99, x="seconds")):
        figure, words = entry(older, view), entry.summary(older, view)
        assert bool(figure.data) != bool(figure.layout.annotations)
        assert words.endswith(".")
        assert "nan" not in words


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("view", [View(), View(k=1), View(k=100, at=0, x="samples", digit=3)])
def test_every_figure_is_small_and_leaves_the_theme_alone(name: str, view: View) -> None:
    figure = FIGURES[name](history(), view).to_plotly_json()
    text = json.dumps(figure, cls=PlotlyJSONEncoder)
    assert figure["data"]
    assert len(text) < 35_000
    assert not {"font", "paper_bgcolor", "plot_bgcolor", "colorway"} & figure["layout"].keys()
    assert FIGURES[name].summary(history(), view).endswith(".")
    assert FIGURES[name].caption.endswith(".")


# Labels.


def test_labels_say_what_tells_the_runs_apart_and_no_more() -> None:
    def of(*runs: RunSpec) -> list[str]:
        return labels(ExperimentSpec(runs=runs))

    assert of(RunSpec("vae", 5), RunSpec("iwae", 50)) == ["VAE", "IWAE"]
    assert of(*RUNS) == ["VAE", "IWAE k=5", "IWAE k=50"]
    assert of(RunSpec("iwae", 5), RunSpec("iwae", 5, "two_layer")) == ["IWAE one_layer", "IWAE two_layer"]
    assert of(RunSpec("renyi", 5), RunSpec("renyi", 5, alpha=0.0)) == ["Rényi", "Rényi alpha=0.0"]
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


# Against k.


def test_spread_is_one_standard_deviation_of_one_estimate() -> None:
    figure = FIGURES["spread"](history(), View())
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    lines = [trace for trace in figure.data if trace.fill is None]
    seen = snapshot(seed=1)
    for run in range(3):
        for offset, row in ((0, 1), (1, 0)):  # L_k is drawn first
            band, line = bands[2 * run + offset], lines[2 * run + offset]
            known = len(KS) - row  # the largest k is one block
            half = (band.y[known:][::-1] - band.y[:known]) / 2
            assert len(band.y) == 2 * known
            assert half == pytest.approx(seen.spread[run, row, :known], rel=1e-4)
            mean = seen.iwae[run].mean(1) if row else np.full(len(KS), seen.elbo[run].mean())
            assert line.y == pytest.approx(mean, rel=1e-6)
            assert band.mode == "lines"


def test_gaps_are_from_the_exact_value_where_it_is_known() -> None:
    lines = draw("gap")
    seen = snapshot(seed=1)
    known = lines["IWAE k=5: L<sub>k</sub>"].y  # type: ignore[attr-defined]
    assert known == pytest.approx((seen.log_p[1] - seen.iwae[1]).mean(1), rel=1e-3)
    unknown = lines["IWAE k=50: L<sub>k</sub>"].y  # type: ignore[attr-defined]
    assert unknown[:-1] == pytest.approx((seen.iwae[2, -1] - seen.iwae[2, :-1]).mean(1), rel=1e-3)
    assert np.isnan(unknown[-1])
    elbo = lines["IWAE k=5: ELBO"].y  # type: ignore[attr-defined]
    assert elbo == pytest.approx(np.full(len(KS), (seen.log_p[1] - seen.elbo[1]).mean()), rel=1e-3)
    layout = lines["figure"].layout  # type: ignore[attr-defined]
    assert layout.yaxis.title.text.startswith("log p(x) or, where unknown, L<sub>100</sub>")
    assert (layout.xaxis.type, layout.yaxis.type) == ("log", "log")


@pytest.mark.parametrize(("known", "title"), [(True, "log p(x) − bound"), (False, "L<sub>100</sub> − bound")])
def test_the_axis_says_what_the_gap_is_from(known: bool, title: str) -> None:
    run = history()
    log_p = np.full((3, 40), -80.0 if known else np.nan, np.float32)
    run.snapshots[-1] = replace(run.snapshots[-1], log_p=log_p)
    assert FIGURES["gap"](run, View()).layout.yaxis.title.text.startswith(title)


def test_a_gap_that_cannot_be_told_from_zero_is_left_out() -> None:
    run = history()
    latest = run.snapshots[-1]
    noise = np.random.default_rng(5).normal(0.01, 1, 40)
    run.snapshots[-1] = replace(latest, log_p=(latest.iwae[:, 3] + noise).astype(np.float32))
    line = next(trace for trace in FIGURES["gap"](run, View()).data if trace.name == "IWAE k=5: L<sub>k</sub>")
    assert np.isfinite(line.y).tolist() == [True] * 3 + [False] * (len(KS) - 3)


def test_differences_are_paired() -> None:
    lines = draw("difference")
    assert "VAE → IWAE: L<sub>k</sub>" not in lines
    seen = snapshot(seed=1)
    wanted = seen.iwae[2].astype(float) - seen.iwae[0]
    assert lines["IWAE k=50: L<sub>k</sub>"].y == pytest.approx(wanted.mean(1), rel=1e-4)  # type: ignore[attr-defined]
    figure = lines["figure"]
    bands = [trace for trace in figure.data if trace.fill == "toself"]  # type: ignore[attr-defined]
    half = (bands[2].y[len(KS) :][::-1] - bands[2].y[: len(KS)]) / 2
    assert half == pytest.approx(2 * wanted.std(1, ddof=1) / 40**0.5, rel=1e-3)
    assert figure.layout.shapes[0].y0 == 0  # type: ignore[attr-defined]
    assert figure.layout.yaxis.title.text == "nats above VAE → IWAE"  # type: ignore[attr-defined]


def test_one_run_alone_has_no_difference() -> None:
    begun = Started(replace(SPEC, runs=RUNS[:1]).to_json(), np.zeros((DIGITS, 784), np.uint8))
    one = replace(snapshot(), iwae=snapshot().iwae[:1], elbo=snapshot().elbo[:1])
    alone = History([Record(0, 0.0, begun), Record(1, 0.0, one)])
    figure = FIGURES["difference"](alone, View())
    assert figure.layout.annotations[0].text == FIGURES["difference"].summary(alone, View())


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


# Samples.


def test_weights_are_shares_of_the_samples_in_view() -> None:
    for k, count in ((10, 10), (50, 50), (100, 50), (1, 1)):
        figure = FIGURES["weights"](history(), View(k=k, digit=2))
        log_weights = snapshot(seed=1).log_weights[:, :count, 2].astype(float)
        shares = np.exp(log_weights) / np.exp(log_weights).sum(1, keepdims=True)
        for bars, wanted in zip(figure.data, shares, strict=True):
            assert bars.y == pytest.approx(wanted, rel=1e-4)
            assert f"{1 / (wanted**2).sum():.1f} of {count}" in bars.name
        assert figure.layout.shapes[0].y0 == pytest.approx(1 / count)


def test_the_plane_has_a_panel_for_each_run_that_has_one() -> None:
    figure = FIGURES["plane"](history(), View(k=10, digit=1))
    seen = snapshot(seed=1)
    contours = [trace for trace in figure.data if trace.type == "contour"]
    assert [trace.xaxis for trace in contours] == ["x", "x2"]
    for run, contour in enumerate(contours):
        assert (contour.z == seen.plane[run, 1]).all()
        assert [contour.x0, contour.x0 + 4 * contour.dx] == pytest.approx([0.5, 1.5])
        assert [contour.y0, contour.y0 + 4 * contour.dy] == pytest.approx([-2.5, -1.5])
    outline = next(trace for trace in figure.data if trace.name == "IWAE k=5: q")
    mean, scale = seen.plane_q[1, 1]
    away = np.hypot((outline.x - mean[0]) / scale[0], (outline.y - mean[1]) / scale[1])
    assert away[:49] == pytest.approx(np.ones(49), rel=1e-3)
    assert away[50:] == pytest.approx(2 * np.ones(49), rel=1e-3)
    cloud = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"][1]
    assert cloud.x == pytest.approx(seen.plane_samples[1, :10, 1, 0].astype(float))
    assert cloud.customdata.sum() == pytest.approx(1)
    assert (np.argsort(cloud.marker.size) == np.argsort(cloud.customdata)).all()


def test_the_closeup_joins_each_sample_before_and_after() -> None:
    figure = FIGURES["closeup"](history(), View())
    seen = closeup()
    paths = [trace for trace in figure.data if trace.mode == "lines" and not trace.name]
    for run, (path, count) in enumerate(zip(paths, (5, 5, 50), strict=True)):
        ends = np.reshape(path.y, (-1, 3))
        assert len(ends) == count
        assert ends[:, 0] == pytest.approx(seen.before[run, :count])
        assert ends[:, 1] == pytest.approx(seen.after[run, :count])
        assert np.isnan(ends[:, 2]).all()
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert lines["IWAE k=5: ELBO"].y.tolist() == seen.bounds[1, 0].tolist()
    assert lines["IWAE k=5: L<sub>k</sub>"].y.tolist() == seen.bounds[1, 1].tolist()
    assert figure.layout.xaxis.ticktext[2] == "before<br>IWAE k=5"
