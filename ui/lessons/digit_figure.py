"""The figures of the lesson "Your own digit"."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from iwae_lab.figures.marks import COLOURS, L_K, TRUTH, Trace, axes, bars, decades, dots, faint, line
from iwae_lab.lessons.digit import CURVE_KS, ODD, SAMPLES, Judged
from iwae_lab.shipped.manifest import manifest
from ui.lessons.shipped import label

PLACES = {"spiral": "middle left", "house": "middle left"}  # of names: spiral and star lie close together
HOVER = "%{x:.1f}, %{y:.1f} above the ELBO"
COLOUR = {"vae": COLOURS[0], "iwae": COLOURS[1]}


def against_k(found: Mapping[str, Judged]) -> go.Figure:
    """L_k (solid) and the ELBO (dashed) of one drawing against k."""
    look = axes("k, samples (log scale)", "nats")
    look["xaxis"] |= decades(CURVE_KS[-1])
    traces = []
    for name, each in found.items():
        flat = np.full(len(CURVE_KS), each.elbo)
        traces.append(line(CURVE_KS, each.l_k, f"{L_K} {label(name)}", _colour(name)))
        traces.append(line(CURVE_KS, flat, f"ELBO {label(name)}", _colour(name), "dash"))
    return go.Figure([trace | {"hovertemplate": "%{y:.1f}"} for trace in traces], look)


def weights(found: Mapping[str, Judged], k: int) -> go.Figure:
    """Normalised weights of k draws, the largest first, against 1/k."""
    look = axes(f"the {k} draws, largest weight first", "share of the total weight")
    look["xaxis"] |= {"range": [0.4, k + 0.6], "showticklabels": False, "showgrid": False}
    look["yaxis"] |= {"rangemode": "tozero"}
    numbers = np.arange(1, k + 1)
    traces = [
        bars(
            numbers,
            each.shares(k),
            f"{label(name)}: count for {each.ess(k):.1f}",
            _colour(name),
            hovertemplate="%{y:.3f}",
        )
        for name, each in found.items()
    ]
    traces.append(line([0.4, k + 0.6], np.full(2, 1 / k), f"all equal: 1/{k}", TRUTH, "dot", hoverinfo="skip"))
    return go.Figure(traces, look | {"bargap": 0.15, "hovermode": "closest"})


def map_of_drawings(found: Mapping[str, Judged], others: Mapping[str, Mapping[str, Judged]]) -> go.Figure:
    """How far the ELBO is off against how probable a drawing is: test digits, odd drawings, and this one (ringed)."""
    look = axes(f"L<sub>{SAMPLES}</sub>, nats", f"L<sub>{SAMPLES}</sub> − ELBO")
    look["yaxis"] |= {"rangemode": "tozero"}
    traces: list[Trace] = []
    for name, drawings in others.items():
        colour = _colour(name)
        colours = [colour if start in ODD else faint(colour, 0.6) for start in drawings]
        names = {
            "mode": "markers+text",
            "text": [start if start in ODD else "" for start in drawings],
            "textposition": [PLACES.get(start, "middle right") for start in drawings],
            "textfont": {"size": 12},
            "customdata": list(drawings),
            "hovertemplate": f"%{{customdata}}: {HOVER}",
        }
        ring = {"symbol": "circle-open", "size": 20, "color": colour, "line": {"width": 3.5}}
        traces.append(_points(drawings.values(), label(name), {"size": 8, "color": colours}) | names)
        traces.append(_points([found[name]], f"this drawing, {label(name)}", ring) | {"showlegend": False})
    return go.Figure(traces, look | {"hovermode": "closest"})


def _points(drawings: Iterable[Judged], name: str, marker: dict[str, Any]) -> Trace:
    bounds = np.array([(each.l_k[-1], each.elbo) for each in drawings], np.float32)
    return dots(bounds[:, 0], bounds[:, 0] - bounds[:, 1], marker=marker, name=name, hovertemplate=HOVER)


def _colour(name: str) -> str:
    """One for each estimator, as on the other pages."""
    return COLOUR.get(manifest()[name]["spec"]["estimator"], COLOURS[2])
