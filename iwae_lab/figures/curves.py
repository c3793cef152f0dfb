"""The training curves."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Floats
from iwae_lab.figures.figure import FIGURES, bound_line, bounds_layout, empty, sentence, uncovered
from iwae_lab.figures.marks import COLOURS, ELBO, GREY, L_K, Trace, line, vertical
from iwae_lab.history.history import History, Training
from iwae_lab.history.view import View, chosen

POINTS = 400
NO_STEP = "No training step has been made yet."
AXES = {"steps": "training step", "samples": "samples drawn, k × images", "seconds": "seconds of processor time"}


def _curves_summary(history: History, view: View) -> str:
    if not history.step:
        return NO_STEP
    made = history.training
    last = zip(history.labels, made.iwae[-1], made.elbo[-1], strict=True)
    parts = [f"{label}: Lₖ {iwae:.1f}, ELBO {elbo:.1f}" for label, iwae, elbo in last]
    kept = zip(history.labels, made.kept[-1], strict=True)
    parts += [f"{label}: {share:.0%} of the rows kept" for label, share in kept if share < 1]
    return sentence(f"Training curves to step {history.step}. Last minibatch, nats per image", parts)


@FIGURES.register(
    "curves",
    label="Training curves",
    caption="Both bounds on the k samples of each training minibatch, averaged over short windows.",
    summary=_curves_summary,
)
def training_curves(history: History, view: View) -> go.Figure:
    """Both bounds on each minibatch's own k samples, averaged over short windows; swaps and the view are marked."""
    shape = bounds_layout(history, AXES[view.x], "nats per training image", view.x)
    if history.spec is None or not history.step:
        return empty(shape, NO_STEP)
    made = history.training
    shown = _windows(made)
    traces: list[Trace] = []
    for run in range(len(history.labels)):
        x = _positions(history, made, view, run, shown.steps)
        for bound, values in (L_K, shown.iwae), (ELBO, shown.elbo):
            traces.append(bound_line(history, run, bound, x, values[:, run]))
        if made.kept[:, run].min() < 1:
            shape |= _kept_axis(shape)
            name = f"{history.labels[run]}: rows kept"
            kept = line(x, 100 * shown.kept[:, run], name, COLOURS[run], "dot", 1.5, hovertemplate="%{y:.0f} %")
            traces.append(kept | {"yaxis": "y2"})
    # The first steps start hundreds of nats lower; leaving them out keeps the rest readable.
    later = np.concatenate([shown.elbo, shown.iwae], 1)[len(shown.steps) // 10 :]
    later = later[np.isfinite(later).all(1)]
    if len(later):
        low, high = float(later.min()), float(later.max())
        margin = 0.05 * (high - low) + 0.5
        shape["yaxis"] |= {"range": [low - margin, high + margin]}
    shape["xaxis"] |= {"range": [0, max(*(float(trace["x"][-1]) for trace in traces), 10)]}
    return go.Figure(uncovered(traces), shape | {"shapes": _moments(history, made, view)})


def _kept_axis(shape: dict[str, Any]) -> dict[str, Any]:
    """An axis on the right for the rows that took part in the backward pass, where not all did."""
    axis = {"title": {"text": "rows kept, %"}, "overlaying": "y", "side": "right", "showgrid": False}
    axis |= {"range": [0, 100], "tickvals": [0, 50, 100]}
    return {"yaxis2": axis, "margin": shape["margin"] | {"r": 60}}


def samples_drawn(history: History, run: int, steps: Floats) -> Floats:
    """How many samples a run had drawn after so many steps, k for each image; k changes where it was swapped."""
    if history.spec is None:
        return np.zeros_like(steps)
    swaps = [swap for swap in history.swaps if swap.run == run]
    starts = [0, *(swap.step for swap in swaps), np.inf]
    total = np.zeros_like(steps)
    for k, start, end in zip([history.spec.runs[run].k, *(swap.k for swap in swaps)], starts, starts[1:], strict=False):
        total += k * np.clip(steps - start, 0, end - start)
    return total * history.spec.batch_size


def _positions(history: History, made: Training, view: View, run: int, steps: Floats) -> Floats:
    """Where steps are on the axis in view."""
    if view.x == "samples":
        return samples_drawn(history, run, steps)
    if view.x == "seconds":
        return np.interp(steps, made.steps, _seconds(made, run))
    return steps


def _seconds(made: Training, run: int) -> Floats:
    """What a run has cost up to each step; in older logs, which do not tell, the time of all runs together."""
    cost = made.costs[:, run]
    return made.seconds if np.isnan(cost).any() else np.asarray(cost.cumsum())


def _moments(history: History, made: Training, view: View) -> list[Trace]:
    """A line at each swap, in the colour of its run, and at the evaluation in view if it is not the latest."""
    marks = [(swap.run, swap.step, COLOURS[swap.run]) for swap in history.swaps]
    snapshot = chosen(history, view)
    if snapshot is not None and snapshot is not history.snapshots[-1]:
        # By samples drawn, runs of different k were not at the same place.
        marks += [(run, snapshot.step, GREY) for run in range(len(history.labels))]
    places = [
        (float(_positions(history, made, view, run, np.array([float(step)]))[0]), colour) for run, step, colour in marks
    ]
    return [vertical(*place) for place in dict.fromkeys(places)]


def _windows(made: Training) -> Training:
    """At most `POINTS` rows, each the average of equally many; the newest are never dropped."""
    count = len(made.steps)
    width = -(-count // POINTS)
    whole = count // width * width
    return Training(*(rows[count - whole :].reshape(-1, width, *rows.shape[1:]).mean(1) for rows in made))
