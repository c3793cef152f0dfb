"""A sweep: the bounds of each model against the k it was trained with."""

from collections.abc import Hashable, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from iwae_lab.figures.figure import empty
from iwae_lab.figures.marks import COLOURS, ELBO, L_K, Trace, axes, line
from iwae_lab.history.sweep import Point, Range, kind, kinds
from iwae_lab.paper.cells import PAPER, Cell

NO_POINT = "No model of this sweep has been evaluated yet."


CAPTION = (
    "L_k at the largest k that was evaluated (solid) and the ELBO (dashed), against the k of training; bars are two "
    "standard errors or, where there are several seeds, from the least of them to the greatest, around their mean."
)


def against_training_k(points: Sequence[Point]) -> go.Figure:
    """L_k at one large k (solid) and the ELBO (dashed) of each model against its training k, see `Range` for the bars.

    The paper's Table 1 is in the legend, to be switched on: its models were trained some three hundred times longer.
    """
    look = axes("training k (log scale)", "nats per held-out image", left=64)
    if not points:
        return empty(look, NO_POINT)
    names = kinds([point.run for point in points])
    traces = [
        trace
        for (of, found), colour in zip(_by_kind(points).items(), cycle(COLOURS), strict=False)
        for trace in _lines(names[of], found, colour)
    ]
    ks = sorted({point.run.k for point in points})
    look["xaxis"] |= {"type": "log", "tickvals": ks, "ticktext": list(map(str, ks))}
    return go.Figure(traces, look | {"uirevision": ",".join(names.values())})


def sweep_summary(points: Sequence[Point]) -> str:
    """The plot in words, for readers who do not see it."""
    if not points:
        return NO_POINT
    names, parts = kinds([point.run for point in points]), []
    for of, found in _by_kind(points).items():
        for k, (l_k, elbo, seeds) in _by_k(found).items():
            mean = f" (mean of {seeds} seeds)" if seeds > 1 else ""
            parts.append((k, f"{names[of]} at k = {k}{mean}: {l_k.mean:.1f}, ELBO {elbo.mean:.1f}"))
    told = [text for _, text in sorted(parts, key=lambda part: part[0])]
    return f"Test bounds in nats per image against training k. Lₖ of {'; '.join(told)}."


def _by_kind(points: Sequence[Point]) -> dict[Hashable, list[Point]]:
    found: dict[Hashable, list[Point]] = {}
    for point in points:
        found.setdefault(kind(point.run), []).append(point)
    return found


def _by_k(points: Sequence[Point]) -> dict[int, tuple[Range, Range, int]]:
    """Both bounds of one kind of model at each k, and how many seeds there are."""
    found: dict[int, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.run.k):
        found.setdefault(point.run.k, []).append(point)
    return {
        k: (Range.of([point.l_k for point in same]), Range.of([point.elbo for point in same]), len(same))
        for k, same in found.items()
    }


def _lines(label: str, points: Sequence[Point], colour: str) -> list[Trace]:
    found, first = _by_k(points), points[0].run
    traces = [
        _line(f"{label}: {L_K}", list(found), [l_k for l_k, _, _ in found.values()], colour, "solid"),
        _line(f"{label}: {ELBO}", list(found), [elbo for _, elbo, _ in found.values()], colour, "dash"),
    ]
    cells = {cell.k: -told.nll for cell, told in PAPER.items() if cell == Cell("mnist", 1, first.estimator, cell.k)}
    if cells and first.model == "one_layer":
        traces.append(_paper(f"{label}, paper", cells, colour))
    return traces


def _line(name: str, ks: Sequence[int], values: Sequence[Range], colour: str, dash: str) -> Trace:
    above, below = [value.high - value.mean for value in values], [value.mean - value.low for value in values]
    return {
        **line(ks, [value.mean for value in values], name, colour, dash, hovertemplate="%{y:.2f}"),
        "mode": "lines+markers",
        "marker": {"size": 9, "symbol": "circle" if dash == "solid" else "diamond"},
        "error_y": {
            "array": np.array(above, np.float32),
            "arrayminus": np.array(below, np.float32),
            "symmetric": False,
            "thickness": 1.2,
        },
    }


def _paper(name: str, values: dict[int, float], colour: str) -> Trace:
    return {
        **line(list(values), list(values.values()), name, colour, "dot", 1, hovertemplate="%{y:.2f}"),
        "mode": "lines+markers",
        "marker": {"size": 10, "symbol": "circle-open"},
        "visible": "legendonly",
    }
