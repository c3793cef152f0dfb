"""A sweep: the bounds of each model against the k it was trained with."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Estimate
from iwae_lab.figures.figure import STDERRS, empty
from iwae_lab.figures.marks import COLOURS, ELBO, L_K, Trace, axes, line
from iwae_lab.history.sweep import Point
from iwae_lab.paper.cells import PAPER, Cell

NO_POINT = "No model of this sweep has been evaluated yet."


def against_training_k(points: Sequence[Point]) -> go.Figure:
    """L_k at one large k (solid) and the ELBO (dashed) of each model against its training k, with +-2 standard errors.

    The paper's Table 1 is in the legend, to be switched on: its models were trained some three hundred times longer.
    """
    look = axes("training k (log scale)", "nats per held-out image", left=64)
    if not points:
        return empty(look, NO_POINT)
    estimators = list(dict.fromkeys(point.estimator for point in points))
    traces = [trace for index, name in enumerate(estimators) for trace in _lines(points, name, COLOURS[index])]
    ks = sorted({point.k for point in points})
    look["xaxis"] |= {"type": "log", "tickvals": ks, "ticktext": list(map(str, ks))}
    return go.Figure(traces, look | {"uirevision": ",".join(estimators)})


def sweep_summary(points: Sequence[Point]) -> str:
    """The plot in words, for readers who do not see it."""
    if not points:
        return NO_POINT
    parts = []
    for name, k, _, l_k, elbo, _ in points:
        parts.append(f"{ESTIMATORS[name].label} at k = {k}: {float(l_k.mean):.1f}, ELBO {float(elbo.mean):.1f}")
    return f"Test bounds in nats per image against training k. Lₖ of {'; '.join(parts)}."


def _lines(points: Sequence[Point], name: str, colour: str) -> list[Trace]:
    own = sorted((point for point in points if point.estimator == name), key=lambda point: point.k)
    label, ks = ESTIMATORS[name].label, [point.k for point in own]
    traces = [
        _line(f"{label}: {L_K}", ks, [point.l_k for point in own], colour, "solid"),
        _line(f"{label}: {ELBO}", ks, [point.elbo for point in own], colour, "dash"),
    ]
    paper = {cell.k: -found.nll for cell, found in PAPER.items() if cell == Cell("mnist", 1, name, cell.k)}
    if paper:
        traces.append(_paper(f"{label}, paper", paper, colour))
    return traces


def _line(name: str, ks: Sequence[int], values: Sequence[Estimate], colour: str, dash: str) -> Trace:
    return {
        **line(ks, [value.mean for value in values], name, colour, dash, hovertemplate="%{y:.2f}"),
        "mode": "lines+markers",
        "marker": {"size": 9, "symbol": "circle" if dash == "solid" else "diamond"},
        "error_y": {"array": np.array([STDERRS * value.stderr for value in values], np.float32), "thickness": 1.2},
    }


def _paper(name: str, values: dict[int, float], colour: str) -> Trace:
    return {
        **line(list(values), list(values.values()), name, colour, "dot", 1, hovertemplate="%{y:.2f}"),
        "mode": "lines+markers",
        "marker": {"size": 10, "symbol": "circle-open"},
        "visible": "legendonly",
    }
