"""Every figure of the registry shows the numbers of the history, and says so in words."""

import json
from pathlib import Path

import numpy as np
import pytest
from plotly.utils import PlotlyJSONEncoder

from iwae_lab.figures import FIGURES
from iwae_lab.history.history import History
from iwae_lab.history.view import View
from iwae_lab.records.log import read_log
from tests.support.history import history, snapshot

RECORDED = Path(__file__).parents[2] / "iwae_lab/assets/recorded/long.jsonl.xz"


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_survives_histories_that_lack_what_it_shows(name: str) -> None:
    entry = FIGURES[name]
    nothing = entry(History(), View())
    assert not nothing.data
    assert nothing.layout.annotations[0].text.replace("<br>", " ") == entry.summary(History(), View())
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
    spans = [figure.layout[axis].range for axis in ("xaxis", "yaxis", "xaxis2", "yaxis2")]
    assert np.diff(spans).ravel() == pytest.approx(4 * [np.ptp(spans[0])]), "one scale for both models"
    assert np.diff([figure.layout[axis].domain for axis in ("xaxis", "xaxis2")]).ravel() == pytest.approx([0.47, 0.47])
    for run, (x, y) in enumerate(zip(spans[::2], spans[1::2], strict=True)):
        reach = 2.5 * seen.plane_q[run, 1, 1]
        for (low, high), middle, away in zip((x, y), seen.plane_q[run, 1, 0], reach, strict=True):
            assert low <= middle - away < middle + away <= high
        assert x[0] <= 0.5 < 1.5 <= x[1]
        assert y[0] <= -2.5 < -1.5 <= y[1]
    outline = next(trace for trace in figure.data if trace.name == "IWAE k=5: q")
    mean, scale = seen.plane_q[1, 1]
    away = np.hypot((outline.x - mean[0]) / scale[0], (outline.y - mean[1]) / scale[1])
    assert away[:49] == pytest.approx(np.ones(49), rel=1e-3)
    assert away[50:] == pytest.approx(2 * np.ones(49), rel=1e-3)
    cloud = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "markers"][1]
    assert cloud.x == pytest.approx(seen.plane_samples[1, :10, 1, 0].astype(float))
    assert cloud.customdata.sum() == pytest.approx(1)
    assert (np.argsort(cloud.marker.size) == np.argsort(cloud.customdata)).all()
