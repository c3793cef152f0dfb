"""Figures against k."""

from dataclasses import replace

import numpy as np
import pytest

from iwae_core.training.events import Record, Started
from iwae_lab.figures import FIGURES
from iwae_lab.figures.marks import logarithmic
from iwae_lab.history.history import History
from iwae_lab.history.view import View
from tests.support.history import DIGITS, KS, RUNS, SPEC, draw, history, snapshot

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
    assert figure.layout.annotations[0].text.replace("<br>", " ") == FIGURES["difference"].summary(alone, View())


def test_where_the_unknown_part_of_log_p_is_not_small_the_plot_is_grey() -> None:
    run = history()
    (_, blind) = FIGURES["gap"](run, View()).layout.shapes
    assert (blind.x0, blind.fillcolor) == (10, "rgba(128,128,128,0.15)"), "a tenth of the largest k and more"
    assert "unknown part" in blind.label.text
    run.snapshots[-1] = replace(run.snapshots[-1], log_p=np.full((3, 40), -80.0, np.float32))
    assert len(FIGURES["gap"](run, View()).layout.shapes) == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.002, 40.0, ["0.01", "0.1", "1", "10"]),
        (0.9, 12.0, ["1", "2", "5", "10"]),
        (1.1, 9.0, ["1", "2", "5", "10"]),
        (3.2, 5.9, ["3", "4", "5", "6"]),
        (4.01, 4.3, ["3.9", "4", "4.1", "4.2", "4.3", "4.4", "4.5"]),
        (2e-6, 0.3, ["10<sup>−6</sup>", "10<sup>−5</sup>", "10<sup>−4</sup>", "0.001", "0.01", "0.1"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_whole_numbers(low: float, high: float, ticks: list[str]) -> None:
    axis = logarithmic(low, high)
    assert axis["ticktext"] == ticks
    assert axis["range"][0] < np.log10(low) < np.log10(high) < axis["range"][1]


def test_lines_through_the_same_points_are_all_seen() -> None:
    run = history()
    same = np.repeat(run.snapshots[-1].iwae[:1], 3, 0)
    run.snapshots[-1] = replace(run.snapshots[-1], iwae=same)
    lines = [trace for trace in FIGURES["bounds"](run, View()).data if trace.name]
    assert [line.line.width for line in lines[::2]] == [7.5, 5.0, 2.5], "the first below the others, and wider"
    assert {line.line.width for line in lines[1::2]} == {2.5}


def test_a_crowded_legend_says_what_dashes_mean() -> None:
    figure = FIGURES["bounds"](history(), View())
    assert sum(trace.name is not None and trace.showlegend for trace in figure.data) == 3
    assert figure.layout.legend.title.text == "solid L<sub>k</sub>, dashed ELBO"
