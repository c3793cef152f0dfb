"""What all figures share: the view, the registry, and the look of lines, bands and axes. No theme colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Estimate, Floats
from iwae_core.registry import Registry
from iwae_lab.history.history import History
from iwae_lab.history.view import View, eval_ks

# Okabe-Ito hues that stay apart for colour-blind eyes and on light and dark grounds; dashes repeat the distinction.
COLOURS = ("#0f80c9", "#e0662a", "#16a37c", "#c7689f")
GREY = "rgba(128,128,128,0.9)"
DOTTED = {"width": 1.5, "dash": "dot", "color": GREY}
L_K, ELBO = "L<sub>k</sub>", "ELBO"
K_AXIS = "k, samples per image (log scale)"
STDERRS = 2
NO_EVALUATION = "The first evaluation is on its way."
NOT_KEPT = "The log of this experiment does not hold it."
Trace: TypeAlias = dict[str, Any]


class Place(StrEnum):
    """Where a figure is offered: as the large plot, over k, which reports hold too; or as the panel beside it."""

    PLOT = "plot"
    PANEL = "panel"


@dataclass(frozen=True)
class Figure:
    """A function that draws what there is to see of a history in a view.

    `caption` says in one sentence what it shows, `summary` what there is to see, for readers who do not. `short` is the
    label of the button that chooses it where it is offered; one without a `place` is shown at all times.
    """

    draw: Callable[[History, View], go.Figure]
    label: str
    caption: str
    summary: Callable[[History, View], str]
    place: Place | None = None
    short: str = ""

    def __call__(self, history: History, view: View) -> go.Figure:
        """The figure; it says why if there is nothing to see yet."""
        return self.draw(history, view)


FIGURES: Registry[Figure] = Registry("figure", Figure)


def offered(place: Place) -> dict[str, str]:
    """The names of the figures to choose from in a place, and the short labels of their buttons."""
    return {name: figure.short for name, figure in FIGURES.items() if figure.place is place}


def layout(history: History, x: str, y: str, *more: object) -> dict[str, Any]:
    """Axes with their titles. A reader's zoom and legend choices last as long as the experiment and `more` do."""
    return {
        "template": None,
        "uirevision": " ".join(map(str, [history.spec.to_json() if history.spec else "", *more])),
        "margin": {"l": 64, "r": 12, "t": 8, "b": 48},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "x unified",
    }


def empty(shape: dict[str, Any], why: str) -> go.Figure:
    """A figure without data that says why."""
    note = {"text": why, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return go.Figure(layout=shape | {"annotations": [note], "xaxis": {"visible": False}, "yaxis": {"visible": False}})


def against_k(history: History, y: str) -> dict[str, Any]:
    """A layout whose x axis is k, in decades."""
    ks, result = eval_ks(history), layout(history, K_AXIS, y)
    if len(ks):
        result["xaxis"] |= {"type": "log", "dtick": 1, "range": [-0.06, float(np.log10(ks[-1])) + 0.06]}
    return result


def vertical(x: float, line: dict[str, Any] = DOTTED) -> dict[str, Any]:
    """A line across the plot at x."""
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def horizontal(y: float) -> dict[str, Any]:
    """A line across the plot at y."""
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": DOTTED}


# Traces are plain dictionaries until the figure is complete: Plotly then validates them once, not at every step.
def line(history: History, run: int, bound: str, x: Floats, y: Floats) -> Trace:
    """One bound of one run: its colour, solid for L_k and dashed for the ELBO."""
    label, dashed = history.labels[run], bound == ELBO
    # A legend of more than four lines would crowd out the plot: then both lines of a run share one entry.
    many = len(history.labels) > 2
    return {
        "type": "scatter",
        "x": x.astype(np.float32),
        "y": y.astype(np.float32),
        "name": f"{label}: {bound}",
        "legendgroup": label if many else f"{label}: {bound}",
        "showlegend": not (many and dashed),
        "mode": "lines",
        "line": {"color": COLOURS[run], "width": 2.5, "dash": "dash" if dashed else "solid"},
        "hovertemplate": "%{y:.2f}",
    }


def band(of: Trace, half: Floats) -> Trace:
    """The region this far above and below a line, as far as it is known."""
    known = np.isfinite(half) & np.isfinite(of["y"])
    x, y, half = of["x"][known], of["y"][known], half[known]
    return {
        "type": "scatter",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([y - half, (y + half)[::-1]]).astype(np.float32),
        "mode": "lines",  # Plotly would mark every one of a few points
        "fill": "toself",
        "fillcolor": faint(of["line"]["color"], 0.11),
        "line": {"width": 0},
        **part_of(of),
    }


def error_band(of: Trace, values: Estimate) -> Trace:
    """Two standard errors above and below a line."""
    return band(of, STDERRS * values.stderr)


def marker(of: Trace, at: int) -> Trace:
    """One point of a line."""
    symbol = "diamond" if of["line"]["dash"] == "dash" else "circle"
    return {
        "type": "scatter",
        "x": of["x"][[at]],
        "y": of["y"][[at]],
        "mode": "markers",
        "marker": {"color": of["line"]["color"], "size": 10, "symbol": symbol},
        **part_of(of),
    }


def part_of(of: Trace) -> Trace:
    """What makes a trace come and go with another one's legend entry."""
    return {"legendgroup": of["legendgroup"], "showlegend": False, "hoverinfo": "skip"}


def faint(colour: str, opacity: float) -> str:
    """One of `COLOURS`, seen through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def sentence(start: str, parts: Sequence[str], end: str = "") -> str:
    """A text alternative: what is shown, then each run."""
    return f"{start}: {'; '.join(parts)}{end}."
