"""A sweep: the bounds of each model against the k it was trained with."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Estimate
from iwae_lab.figures.figure import COLOURS, ELBO, L_K, STDERRS, Trace
from iwae_lab.history.sweep import TABLE_1, Point


def against_training_k(points: Sequence[Point]) -> go.Figure:
    """L_k at one large k (solid) and the ELBO (dashed) of each model against its training k, with +-2 standard errors.

    The paper's Table 1 is in the legend, to be switched on: its models were trained some three hundred times longer.
    """
    estimators = list(dict.fromkeys(point.estimator for point in points))
    traces = [trace for index, name in enumerate(estimators) for trace in _lines(points, name, COLOURS[index])]
    ks = sorted({point.k for point in points})
    layout = {
        "template": None,
        "uirevision": ",".join(estimators),
        "margin": {"l": 64, "r": 12, "t": 8, "b": 48},
        "xaxis": {
            "title": {"text": "training k (log scale)"},
            "type": "log",
            "tickvals": ks,
            "ticktext": list(map(str, ks)),
        },
        "yaxis": {"title": {"text": "nats per held-out image"}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "x unified",
    }
    return go.Figure(traces, layout)


def sweep_summary(points: Sequence[Point]) -> str:
    """The plot in words, for readers who do not see it."""
    if not points:
        return "Test bounds against training k: nothing has been evaluated yet."
    parts = []
    for name, k, _, l_k, elbo in points:
        parts.append(f"{ESTIMATORS[name].label} at k = {k}: {float(l_k.mean):.1f}, ELBO {float(elbo.mean):.1f}")
    return f"Test bounds in nats per image against training k. L_k of {'; '.join(parts)}."


def _lines(points: Sequence[Point], name: str, colour: str) -> list[Trace]:
    own = sorted((point for point in points if point.estimator == name), key=lambda point: point.k)
    label, ks = ESTIMATORS[name].label, [point.k for point in own]
    traces = [
        _line(f"{label}: {L_K}", ks, [point.l_k for point in own], colour, "solid"),
        _line(f"{label}: {ELBO}", ks, [point.elbo for point in own], colour, "dash"),
    ]
    paper = {k: -nll for (estimator, k), nll in TABLE_1.items() if estimator == name}
    if paper:
        traces.append(_paper(f"{label}, paper", paper, colour))
    return traces


def _line(name: str, ks: Sequence[int], values: Sequence[Estimate], colour: str, dash: str) -> Trace:
    return {
        "type": "scatter",
        "name": name,
        "x": np.array(ks, np.float32),
        "y": np.array([value.mean for value in values], np.float32),
        "error_y": {"array": np.array([STDERRS * value.stderr for value in values], np.float32), "thickness": 1.2},
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2.5, "dash": dash},
        "marker": {"size": 9, "symbol": "circle" if dash == "solid" else "diamond"},
        "hovertemplate": "%{y:.2f}",
    }


def _paper(name: str, values: dict[int, float], colour: str) -> Trace:
    return {
        "type": "scatter",
        "name": name,
        "x": np.array(list(values), np.float32),
        "y": np.array(list(values.values()), np.float32),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "marker": {"size": 10, "symbol": "circle-open"},
        "visible": "legendonly",
        "hovertemplate": "%{y:.2f}",
    }
