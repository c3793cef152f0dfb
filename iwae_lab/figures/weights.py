"""The weights of the samples of one digit."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Floats
from iwae_core.training.events import Snapshot
from iwae_lab.figures.figure import (
    COLOURS,
    FIGURES,
    NO_EVALUATION,
    NOT_KEPT,
    Place,
    empty,
    horizontal,
    layout,
    sentence,
)
from iwae_lab.history.history import History
from iwae_lab.history.view import View, chosen


def digit_in_view(history: History, view: View) -> tuple[Snapshot, int] | None:
    """The evaluation and the digit in view, the last if there are not so many; None if no weights are known."""
    snapshot = chosen(history, view)
    if snapshot is None or not snapshot.log_weights.size:
        return None
    return snapshot, min(view.digit, snapshot.log_weights.shape[2] - 1)


def normalised(log_weights: Floats) -> Floats:
    """w~, summing to 1 over the last axis."""
    weights = np.exp(log_weights - log_weights.max(-1, keepdims=True))
    shares: Floats = weights / weights.sum(-1, keepdims=True)
    return shares


def shares(history: History, view: View) -> Floats:
    """The normalised weights of the first samples of the digit in view, as many as its k asks for and were kept,
    `[runs, samples]`; no samples if none were kept.
    """
    found = digit_in_view(history, view)
    if found is None:
        return np.zeros((len(history.labels), 0))
    snapshot, digit = found
    return normalised(snapshot.log_weights[:, : max(view.k, 1), digit].astype(np.float64))


def effective(weights: Floats) -> Floats:
    """The effective sample size 1 / sum w~^2, over the last axis."""
    sizes: Floats = 1 / np.square(weights).sum(-1)
    return sizes


def _weights_summary(history: History, view: View) -> str:
    found = shares(history, view)
    if not found.size:
        return NOT_KEPT if history.snapshots else NO_EVALUATION
    parts = [
        f"{label} model: effective sample size {size:.1f}, largest weight {largest:.0%}"
        for label, size, largest in zip(history.labels, effective(found), found.max(-1), strict=True)
    ]
    return sentence(f"Normalised weights of {found.shape[1]} samples of one digit", parts)


@FIGURES.register(
    "weights",
    label="Weights of the samples of one digit",
    caption="Each sample's share w̃ of all weights: the ELBO gives every sample 1/k (dotted), L_k gives it its share.",
    summary=_weights_summary,
    place=Place.PANEL,
    short="Weights",
)
def weights(history: History, view: View) -> go.Figure:
    """Bars of w~ of each run side by side, on the same noise, with a line at 1/k and the effective sample size."""
    shape = layout(history, "sample", "normalised weight", view.digit)
    found = shares(history, view)
    count = found.shape[1]
    if not count:
        return empty(shape, NOT_KEPT if history.snapshots else NO_EVALUATION)
    traces = [
        {
            "type": "bar",
            "x": np.arange(1, count + 1, dtype=np.int16),
            "y": values.astype(np.float32),
            "name": f"{label}: effective sample size {size:.1f} of {count}",
            "marker": {"color": colour, "line": {"width": 0}},
            "hovertemplate": "%{y:.3f}",
        }
        for label, colour, values, size in zip(history.labels, COLOURS, found, effective(found), strict=False)
    ]
    shape["yaxis"] |= {"rangemode": "tozero"}
    return go.Figure(traces, shape | {"barmode": "group", "bargap": 0.1, "shapes": [horizontal(1 / count)]})
