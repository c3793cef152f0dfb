"""The posterior, q and its samples in the latent plane."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Floats
from iwae_core.training.events import Snapshot
from iwae_core.training.snapshots import weighed
from iwae_lab.figures.figure import FIGURES, Place, empty, layout, sentence
from iwae_lab.figures.marks import COLOURS, GREY, Trace, dots, ellipses, faint, sizes
from iwae_lab.figures.weights import digit_in_view
from iwae_lab.history.history import History
from iwae_lab.history.view import View

GAP = 0.06  # between two panels, of the whole width
SHOWN = 2.5  # standard deviations of q that are sure to be in view
NO_PLANE = "A latent plane is drawn for models with one layer of two latent units."


def _plane(history: History, view: View) -> tuple[Snapshot, int, list[int]] | None:
    """The evaluation, the digit, and the runs that have a latent plane."""
    found = digit_in_view(history, view)
    if found is None or not found[0].plane.size:
        return None
    runs = [run for run in range(len(history.labels)) if np.isfinite(found[0].plane_q[run]).all()]
    return (*found, runs) if runs else None


def _plane_summary(history: History, view: View) -> str:
    found = _plane(history, view)
    if found is None:
        return NO_PLANE
    snapshot, digit, runs = found
    parts = []
    for run in runs:
        (x, y), (width, height) = snapshot.plane_q[run, digit]
        parts.append(f"{history.labels[run]} model: q centred at ({x:.2f}, {y:.2f}), widths {width:.2f}, {height:.2f}")
    return sentence("Posterior and q of one digit in the latent plane", parts)


@FIGURES.register(
    "plane",
    label="Posterior and q in the latent plane",
    caption=(
        "For one digit, the true posterior (filled), q at one and two standard deviations (ellipses), and its samples, "
        "each as large as its weight."
    ),
    summary=_plane_summary,
    place=Place.PANEL,
    short="Latent plane",
)
def plane(history: History, view: View) -> go.Figure:
    """One panel for each run: contours of p(h | x), ellipses of q(h | x), samples with an area in proportion to w~."""
    found = _plane(history, view)
    shape = layout(history, "h<sub>1</sub>", "h<sub>2</sub>", view.digit) | {"hovermode": "closest"}
    if found is None:
        return empty(shape, NO_PLANE)
    snapshot, digit, runs = found
    weights, traces = weighed(snapshot, digit, max(view.k, 1)).weights, []
    middles, sides = zip(*(_square(snapshot, run, digit) for run in runs), strict=True)
    for place, run in enumerate(runs):
        shape |= _panel(shape, place, middles, max(sides) / 2)
        axes = {"xaxis": f"x{place + 1}", "yaxis": f"y{place + 1}"}
        h = snapshot.plane_samples[run, : weights.shape[1], digit].astype(np.float32)
        mean, scale = snapshot.plane_q[run, digit]
        traces += [
            _posterior(snapshot, run, digit) | axes,
            ellipses(mean, scale, f"{history.labels[run]}: q", COLOURS[run]) | axes,
            _cloud(h, weights[run], COLOURS[run]) | axes,
        ]
    return go.Figure(traces, shape)


def _square(snapshot: Snapshot, run: int, digit: int) -> tuple[Floats, float]:
    """The middle and the side of a square around posterior and q."""
    (x, y, half), (mean, scale) = snapshot.plane_box[run, digit], snapshot.plane_q[run, digit]
    low = np.minimum([x - half, y - half], mean - SHOWN * scale)
    high = np.maximum([x + half, y + half], mean + SHOWN * scale)
    return (low + high) / 2, float(max(high - low))


def _panel(shape: dict[str, Any], place: int, middles: Sequence[Floats], half: float) -> dict[str, Any]:
    """The axes of one panel, their units as long as in the others: a wide q looks wide."""
    name, width = str(place + 1) if place else "", (1 - GAP * (len(middles) - 1)) / len(middles)
    across, up = ([float(at - half), float(at + half)] for at in middles[place])
    left = place * (width + GAP)
    x = {"title": shape["xaxis"]["title"], "range": across, "domain": [left, left + width], "anchor": f"y{place + 1}"}
    y = {"range": up, "scaleanchor": f"x{place + 1}", "constrain": "domain", "anchor": f"x{place + 1}"}
    y |= {} if place else {"title": shape["yaxis"]["title"]}
    return {f"xaxis{name}": x | {"zeroline": False}, f"yaxis{name}": y | {"zeroline": False}}


def _posterior(snapshot: Snapshot, run: int, digit: int) -> Trace:
    x, y, half = map(float, snapshot.plane_box[run, digit])
    density = snapshot.plane[run, digit]
    step = 2 * half / (len(density) - 1)
    return {
        "type": "contour",
        "z": density,
        "x0": x - half,
        "dx": step,
        "y0": y - half,
        "dy": step,
        "showscale": False,
        "hoverinfo": "skip",
        "contours": {"start": 25, "end": 250, "size": 45},
        "line": {"width": 0},
        "colorscale": [[0, "rgba(128,128,128,0)"], [1, "rgba(128,128,128,0.7)"]],
        "zmin": 0,
        "zmax": 255,
    }


def _cloud(h: Floats, weights: Floats, colour: str) -> Trace:
    marker = {"color": faint(colour, 0.55), "size": sizes(weights, 27), "line": {"width": 0.5, "color": GREY}}
    hover = "weight %{customdata:.3f}<extra></extra>"
    return dots(*h.T, marker=marker, showlegend=False, customdata=weights.astype(np.float32), hovertemplate=hover)
