"""What the figures of a history share: the registry, axes that keep a reader's zoom, and the line of a bound."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Estimate, Floats
from iwae_core.registry import Registry
from iwae_lab.figures.marks import COLOURS, ELBO, L_K, WIDTH, Trace, axes, band, decades, dots, line, part_of
from iwae_lab.history.history import History
from iwae_lab.history.view import View, eval_ks

K_AXIS = "k, samples per image (log scale)"
STDERRS = 2
NO_EVALUATION = "The first evaluation is on its way."
NOT_KEPT = "The log of this experiment does not hold it."
LEGEND = 4  # lines with an entry each: more would crowd out the plot
NARROW = 36  # characters of a line of text that fits the smallest figure


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
    kept = [history.spec.to_json() if history.spec else "", *more]
    return axes(x, y, left=64) | {"uirevision": " ".join(map(str, kept))}


def empty(shape: dict[str, Any], why: str) -> go.Figure:
    """A figure without data that says why."""
    text = "<br>".join(textwrap.wrap(why, NARROW))
    note = {"text": text, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    return go.Figure(layout=shape | {"annotations": [note], "xaxis": {"visible": False}, "yaxis": {"visible": False}})


def against_k(history: History, y: str) -> dict[str, Any]:
    """A layout whose x axis is k, in decades."""
    ks, result = eval_ks(history), bounds_layout(history, K_AXIS, y)
    if len(ks):
        result["xaxis"] |= decades(ks[-1])
    return result


def bounds_layout(history: History, x: str, y: str, *more: object) -> dict[str, Any]:
    """A layout for bounds. Where both lines of a run share an entry of the legend, its title tells them apart."""
    result = layout(history, x, y, *more)
    if _crowded(history):
        result["legend"] |= {"title": {"text": f"solid {L_K}, dashed {ELBO}", "side": "top"}}
    return result


def _crowded(history: History) -> bool:
    return 2 * len(history.labels) > LEGEND


def bound_line(history: History, run: int, bound: str, x: Floats, y: Floats) -> Trace:
    """One bound of one run: its colour, solid for L_k and dashed for the ELBO."""
    label, dashed = history.labels[run], bound == ELBO
    many, name = _crowded(history), f"{label}: {bound}"
    return line(
        x,
        y,
        name,
        COLOURS[run],
        "dash" if dashed else "solid",
        legendgroup=label if many else name,
        showlegend=not (many and dashed),
        hovertemplate="%{y:.2f}",
    )


def uncovered(traces: Sequence[Trace]) -> list[Trace]:
    """The traces, each line so wide that it shows on both sides of later ones through the same points."""
    result, above = [], list[Trace]()
    for trace in reversed(traces):
        if trace.get("name"):
            hidden = sum(np.array_equal(trace["y"], other["y"], equal_nan=True) for other in above)
            above.append(trace)
            trace = trace | {"line": trace["line"] | {"width": trace["line"]["width"] + hidden * WIDTH}}
        result.append(trace)
    return result[::-1]


def error_band(of: Trace, values: Estimate) -> Trace:
    """Two standard errors above and below a line."""
    return band(of, STDERRS * values.stderr)


def marker(of: Trace, at: int) -> Trace:
    """One point of a line."""
    look = of["line"]
    shape = {"color": look["color"], "size": 10, "symbol": "diamond" if look["dash"] == "dash" else "circle"}
    return dots(of["x"][[at]], of["y"][[at]], marker=shape, **part_of(of))


def sentence(start: str, parts: Sequence[str], end: str = "") -> str:
    """A text alternative: what is shown, then each run."""
    return f"{start}: {'; '.join(parts)}{end}."
