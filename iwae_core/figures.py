"""Every plot: a history and a view go in, a Plotly figure comes out. No torch, no streamlit, no theme colours."""

import io
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from PIL import Image

from iwae_core.events import Snapshot
from iwae_core.history import Estimate, Floats, History, estimate
from iwae_core.spec import ExperimentSpec

# Okabe-Ito hues that stay apart for colour-blind eyes and on light and dark grounds; dashes repeat the distinction.
COLOURS = ("#0f80c9", "#e0662a", "#16a37c", "#c7689f")
L_K, ELBO = "L<sub>k</sub>", "ELBO"
BAND = 2  # standard errors
POINTS = 400
VIEW_LINE = {"width": 1.5, "dash": "dot", "color": "rgba(128,128,128,0.9)"}
Trace: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What the reader looks at; changing it starts no work."""

    k: int = 50


def bounds_against_k(history: History, view: View) -> go.Figure:
    """L_k (solid) and the k-sample minibatch ELBO (dashed) of every run against k, with +-2 standard errors."""
    layout = _layout(history, "k, samples per image (log scale)", "nats per held-out image")
    if history.spec is None or not history.snapshots:
        return go.Figure(layout=layout)
    snapshot, ks = history.snapshots[-1], np.array(history.spec.eval_ks, np.float32)
    at = history.spec.eval_ks.index(view.k)
    traces: list[Trace] = []
    for index in range(len(history.spec.runs)):
        for bound, values in (L_K, estimate(snapshot.iwae[index])), (ELBO, _flat(snapshot, index, len(ks))):
            line = _line(ks, values.mean, history.spec, index, bound)
            traces += [_band(ks, values, line), line, _marker(line, at)]
    layout["shapes"] = [
        {"type": "line", "x0": view.k, "x1": view.k, "yref": "paper", "y0": 0, "y1": 1, "line": VIEW_LINE}
    ]
    layout["xaxis"] |= {"type": "log", "dtick": 1, "range": [-0.06, float(np.log10(ks[-1])) + 0.06]}
    return go.Figure(traces, layout)


def training_curves(history: History) -> go.Figure:
    """Both bounds on each minibatch's own k samples against the training step, averaged over short windows."""
    layout = _layout(history, "training step", "nats per training image")
    if history.spec is None or not history.step:
        return go.Figure(layout=layout)
    rows, runs = _windows(history.progress), len(history.spec.runs)
    steps = rows[:, 0].astype(np.float32)
    traces: list[Trace] = []
    for index in range(runs):
        for bound, column in (L_K, 2 + runs + index), (ELBO, 2 + index):
            traces.append(_line(steps, rows[:, column], history.spec, index, bound))
    # The first steps start hundreds of nats lower; leaving them out keeps the rest readable.
    shown = rows[len(rows) // 10 :, 2:]
    low, high = float(shown.min()), float(shown.max())
    margin = 0.05 * (high - low) + 0.5
    layout["yaxis"] |= {"range": [low - margin, high + margin]}
    layout["xaxis"] |= {"range": [0, max(float(steps[-1]), 10)]}
    return go.Figure(traces, layout)


@dataclass(frozen=True)
class Reading:
    """Both bounds of the runs at one k on held-out images, in nats, and their paired differences."""

    spec: ExperimentSpec
    k: int
    iwae: list[Estimate]
    elbo: list[Estimate]
    gain: list[Estimate]  # L_k minus ELBO, each run
    iwae_lead: Estimate  # last run minus first run
    elbo_lead: Estimate


def read_at(history: History, k: int) -> Reading | None:
    """The numbers behind the plot at one k; None before the first evaluation."""
    if history.spec is None or not history.snapshots:
        return None
    snapshot, at = history.snapshots[-1], history.spec.eval_ks.index(k)
    iwae, elbo = snapshot.iwae[:, at], snapshot.elbo
    return Reading(
        spec=history.spec,
        k=k,
        iwae=[estimate(values) for values in iwae],
        elbo=[estimate(values) for values in elbo],
        gain=[estimate(values) for values in iwae - elbo],
        iwae_lead=estimate(iwae[-1] - iwae[0]),
        elbo_lead=estimate(elbo[-1] - elbo[0]),
    )


def digit_sheet(digits: NDArray[np.uint8], side: int = 28, gap: int = 2) -> bytes:
    """A PNG of one row of digits `[digits, pixels]`, ink on white, separated by transparent gaps."""
    sheet = np.zeros((side, len(digits) * (side + gap) - gap, 2), np.uint8)
    for index, digit in enumerate(digits):
        left = index * (side + gap)
        sheet[:, left : left + side, 0] = 255 - digit.reshape(side, side)
        sheet[:, left : left + side, 1] = 255
    buffer = io.BytesIO()
    Image.fromarray(sheet, "LA").save(buffer, "PNG")
    return buffer.getvalue()


def _layout(history: History, x: str, y: str) -> dict[str, Any]:
    return {
        "template": None,
        # A reader's zoom and legend choices last as long as the experiment does.
        "uirevision": history.spec.to_json() if history.spec else "",
        "margin": {"l": 64, "r": 12, "t": 8, "b": 48},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "x unified",
    }


def _flat(snapshot: Snapshot, run: int, points: int) -> Estimate:
    """The ELBO's estimate is the same at every k: the average of all blocks of k samples is the average of all."""
    mean, stderr = estimate(snapshot.elbo[run])
    return Estimate(np.full(points, mean), np.full(points, stderr))


# Traces are plain dictionaries until the figure is complete: Plotly then validates them once, not at every step.
def _line(x: Floats, y: Floats, spec: ExperimentSpec, run: int, bound: str) -> Trace:
    label, dashed = spec.runs[run].label, bound == ELBO
    # A legend of more than four lines would crowd out the plot: then both lines of a run share one entry.
    many = len(spec.runs) > 2
    return {
        "type": "scatter",
        "x": x,
        "y": y.astype(np.float32),
        "name": f"{label}: {bound}",
        "legendgroup": label if many else f"{label}: {bound}",
        "showlegend": not (many and dashed),
        "mode": "lines",
        "line": {"color": COLOURS[run], "width": 2.5, "dash": "dash" if dashed else "solid"},
        "hovertemplate": "%{y:.2f}",
    }


def _band(x: Floats, values: Estimate, line: Trace) -> Trace:
    low, high = values.mean - BAND * values.stderr, values.mean + BAND * values.stderr
    red, green, blue = (int(line["line"]["color"][i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([low, high[::-1]]).astype(np.float32),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.11)",
        "line": {"width": 0},
        **_part_of(line),
    }


def _marker(line: Trace, at: int) -> Trace:
    symbol = "diamond" if line["line"]["dash"] == "dash" else "circle"
    return {
        "type": "scatter",
        "x": line["x"][[at]],
        "y": line["y"][[at]],
        "mode": "markers",
        "marker": {"color": line["line"]["color"], "size": 10, "symbol": symbol},
        **_part_of(line),
    }


def _part_of(line: Trace) -> Trace:
    return {"legendgroup": line["legendgroup"], "showlegend": False, "hoverinfo": "skip"}


def _windows(rows: Floats) -> Floats:
    """At most `POINTS` rows, each the average of equally many; the newest are never dropped."""
    width = -(-len(rows) // POINTS)
    whole = len(rows) // width * width
    newest = rows[len(rows) - whole :]
    averaged: Floats = newest.reshape(-1, width, rows.shape[1]).mean(1)
    return averaged
