"""The weights of the samples of one digit."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.training.events import Snapshot
from iwae_core.training.snapshots import Weighed, weighed
from iwae_lab.figures.figure import FIGURES, NO_EVALUATION, NOT_KEPT, Place, empty, layout, sentence
from iwae_lab.figures.marks import COLOURS, bars, horizontal
from iwae_lab.history.history import History
from iwae_lab.history.view import View, chosen


def digit_in_view(history: History, view: View) -> tuple[Snapshot, int] | None:
    """The evaluation and the digit in view, the last if there are not so many; None if no weights are known."""
    snapshot = chosen(history, view)
    if snapshot is None or not snapshot.log_weights.size:
        return None
    return snapshot, min(view.digit, snapshot.log_weights.shape[2] - 1)


def weighed_in_view(history: History, view: View) -> Weighed | None:
    """What the samples of the digit in view weigh, as many as its k asks for and were kept; None if none were."""
    found = digit_in_view(history, view)
    return None if found is None else weighed(*found, max(view.k, 1))


def _weights_summary(history: History, view: View) -> str:
    found = weighed_in_view(history, view)
    if found is None:
        return NOT_KEPT if history.snapshots else NO_EVALUATION
    parts = [
        f"{label} model: effective sample size {size:.1f}, largest weight {largest:.0%}"
        for label, size, largest in zip(history.labels, found.effective, found.weights.max(-1), strict=True)
    ]
    return sentence(f"Normalised weights of {found.weights.shape[1]} samples of one digit", parts)


@FIGURES.register(
    "weights",
    label="Weights of the samples of one digit",
    caption="Each sample's share w̃ of all weights: the ELBO gives every sample 1/k (dotted), $L_k$ gives it its share.",
    summary=_weights_summary,
    place=Place.PANEL,
    short="Weights",
)
def weights(history: History, view: View) -> go.Figure:
    """Bars of w~ of each run side by side, on the same noise, with a line at 1/k and the effective sample size."""
    shape = layout(history, "sample", "normalised weight", view.digit)
    found = weighed_in_view(history, view)
    if found is None:
        return empty(shape, NOT_KEPT if history.snapshots else NO_EVALUATION)
    count = found.weights.shape[1]
    samples = np.arange(1, count + 1, dtype=np.int16)
    traces = [
        bars(samples, values, f"{label}: effective sample size {size:.1f} of {count}", colour, hovertemplate="%{y:.3f}")
        for label, colour, values, size in zip(history.labels, COLOURS, *found, strict=False)
    ]
    shape["yaxis"] |= {"rangemode": "tozero"}
    return go.Figure(traces, shape | {"barmode": "group", "bargap": 0.1, "shapes": [horizontal(1 / count)]})
