"""The figures of the lesson "Your own model"."""

import numpy as np
import plotly.graph_objects as go

from iwae_lab.figures.marks import COLOURS, L_K, TRUTH, axes, decades, dots, faint, filled, line, sizes, vertical
from iwae_lab.lessons.own_model import CURVE_KS, Answers, Weighted

Q, KEPT, DRAWS = COLOURS[0], COLOURS[2], COLOURS[1]


def densities(found: Answers, seen: Weighted, k: int) -> go.Figure:
    """The posterior, q, what resampling one of k draws keeps, and one set of draws sized by their weights."""
    look = axes("h", "density")
    top = 1.08 * max(found.posterior.max(), found.q.max(), found.resampled.max())
    look["yaxis"] |= {"range": [-0.12 * top, top]}
    look["xaxis"] |= {"range": [-4, 4]}
    marker = {"color": faint(DRAWS, 0.6), "line": {"color": DRAWS, "width": 1}, "size": sizes(seen.weights, 25)}
    hover = "h = %{x:.2f}, normalised weight %{customdata:.3f}<extra></extra>"
    drawn = {"name": f"{k} draws, area: weight", "customdata": seen.weights.astype(np.float32), "hovertemplate": hover}
    traces = [
        filled(line(found.h, found.posterior, "posterior", TRUTH), 0.25),
        line(found.h, found.q, "q", Q),
        line(found.h, found.resampled, f"one kept of {k}", KEPT),
        dots(seen.h, np.full(len(seen.h), -0.06 * top), marker=marker, **drawn),
    ]
    return go.Figure(traces, look | {"hovermode": "closest"})


def bounds(found: Answers, k: int) -> go.Figure:
    """L_k and the ELBO of this q against k, below log p(x)."""
    look = axes("k, samples (log scale)", "nats")
    look["xaxis"] |= decades(CURVE_KS[-1])
    ends = np.array([CURVE_KS[0], CURVE_KS[-1]])
    traces = [
        line(ends, np.full(2, found.log_evidence), "log p(x)", TRUTH, "dot"),
        line(CURVE_KS, found.bound, L_K, Q),
        line(ends, np.full(2, found.bound[0]), "ELBO", Q, "dash"),
    ]
    shown = [trace | {"hovertemplate": "%{y:.3f}"} for trace in traces]
    return go.Figure(shown, look | {"shapes": [vertical(k, TRUTH)]})
