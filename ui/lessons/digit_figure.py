"""The figures of the lesson "Your own digit"."""

from collections.abc import Iterable, Mapping

import numpy as np
import plotly.graph_objects as go

from iwae_lab.figures import COLOURS
from iwae_lab.lessons.digit import KS, ODD, Judged
from iwae_lab.shipped.models import manifest
from ui.lessons.chart import TRUTH, Trace, layout, line, translucent
from ui.lessons.shipped import label

PLACES = {"spiral": "middle left", "house": "middle left"}  # of names: spiral and star lie close together
COLOUR = {"vae": COLOURS[0], "iwae": COLOURS[1]}


def against_k(found: Mapping[str, Judged]) -> go.Figure:
    """L_k (solid) and the ELBO (dashed) of one drawing against k."""
    look = layout("k, samples (log scale)", "nats")
    look["xaxis"] |= {"type": "log", "dtick": 1, "range": [-0.06, np.log10(KS[-1]) + 0.06]}
    traces = []
    for name, each in found.items():
        traces.append(line(KS, each.l_k, f"L<sub>k</sub> {label(name)}", _colour(name)))
        traces.append(line(KS, np.full(len(KS), each.elbo), f"ELBO {label(name)}", _colour(name), "dash"))
    return go.Figure([trace | {"hovertemplate": "%{y:.1f}"} for trace in traces], look)


def bars(found: Mapping[str, Judged], k: int) -> go.Figure:
    """Normalised weights of k draws, the largest first, against 1/k."""
    look = layout(f"the {k} draws, largest weight first", "share of the total weight")
    look["xaxis"] |= {"range": [0.4, k + 0.6], "showticklabels": False, "showgrid": False}
    look["yaxis"] |= {"rangemode": "tozero"}
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": f"{label(name)}: count for {each.ess(k):.1f}",
            "x": np.arange(1, k + 1),
            "y": each.shares(k).astype(np.float32),
            "marker": {"color": _colour(name)},
            "hovertemplate": "%{y:.3f}",
        }
        for name, each in found.items()
    ]
    traces.append(line([0.4, k + 0.6], np.full(2, 1 / k), f"all equal: 1/{k}", TRUTH, "dot", hoverinfo="skip"))
    return go.Figure(traces, look | {"bargap": 0.15, "hovermode": "closest"})


def map_of_drawings(found: Mapping[str, Judged], others: Mapping[str, Mapping[str, Judged]]) -> go.Figure:
    """How far the ELBO is off against how probable a drawing is: test digits, odd drawings, and this one (ringed)."""
    look = layout(f"L<sub>{KS[-1]}</sub>, nats", f"L<sub>{KS[-1]}</sub> − ELBO")
    look["yaxis"] |= {"rangemode": "tozero"}
    traces: list[Trace] = []
    for name, drawings in others.items():
        colour = _colour(name)
        traces.append(
            _points(drawings.values(), label(name))
            | {
                "mode": "markers+text",
                "text": [start if start in ODD else "" for start in drawings],
                "textposition": [PLACES.get(start, "middle right") for start in drawings],
                "textfont": {"size": 12},
                "marker": {
                    "size": 8,
                    "color": [colour if start in ODD else translucent(colour, 0.6) for start in drawings],
                },
                "customdata": list(drawings),
                "hovertemplate": "%{customdata}: %{x:.1f}, %{y:.1f} above the ELBO",
            }
        )
        ring = {"symbol": "circle-open", "size": 20, "color": colour, "line": {"width": 3.5}}
        traces.append(_points([found[name]], f"this drawing, {label(name)}") | {"marker": ring, "showlegend": False})
    return go.Figure(traces, look | {"hovermode": "closest"})


def _points(drawings: Iterable[Judged], name: str) -> Trace:
    bounds = np.array([(each.l_k[-1], each.elbo) for each in drawings], np.float32)
    place = {"x": bounds[:, 0], "y": bounds[:, 0] - bounds[:, 1]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "hovertemplate": "%{x:.1f}, %{y:.1f} above the ELBO",
        **place,
    }


def _colour(name: str) -> str:
    """One for each estimator, as on the other pages."""
    return COLOUR.get(manifest()[name]["spec"]["estimator"], COLOURS[2])
