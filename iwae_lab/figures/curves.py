"""The training curves."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Floats
from iwae_lab.figures.figure import COLOURS, DOTTED, ELBO, FIGURES, L_K, Trace, empty, layout, line, sentence, vertical
from iwae_lab.history.history import History
from iwae_lab.history.view import View, chosen

POINTS = 400
NO_STEP = "No training step has been made yet."
AXES = {"steps": "training step", "samples": "samples drawn, k × images", "seconds": "seconds of processor time"}


def _curves_summary(history: History, view: View) -> str:
    if not history.step:
        return NO_STEP
    runs, last = len(history.labels), history.progress[-1]
    parts = [f"{label}: L_k {last[2 + runs + i]:.1f}, ELBO {last[2 + i]:.1f}" for i, label in enumerate(history.labels)]
    return sentence(f"Training curves to step {history.step}. Last minibatch, nats per image", parts)


@FIGURES.register(
    "curves",
    label="Training curves",
    caption="Both bounds on the k samples of each training minibatch, averaged over short windows.",
    summary=_curves_summary,
)
def training_curves(history: History, view: View) -> go.Figure:
    """Both bounds on each minibatch's own k samples, averaged over short windows; swaps and the view are marked."""
    shape = layout(history, AXES[view.x], "nats per training image", view.x)
    if history.spec is None or not history.step:
        return empty(shape, NO_STEP)
    rows, runs = _windows(history.progress), len(history.spec.runs)
    traces: list[Trace] = []
    for run in range(runs):
        x = _positions(history, view, run, rows[:, 0])
        for bound, column in (L_K, 2 + runs + run), (ELBO, 2 + run):
            traces.append(line(history, run, bound, x, rows[:, column]))
    # The first steps start hundreds of nats lower; leaving them out keeps the rest readable.
    shown = rows[len(rows) // 10 :, 2:]
    shown = shown[np.isfinite(shown).all(1)]
    if len(shown):
        low, high = float(shown.min()), float(shown.max())
        margin = 0.05 * (high - low) + 0.5
        shape["yaxis"] |= {"range": [low - margin, high + margin]}
    shape["xaxis"] |= {"range": [0, max(*(float(trace["x"][-1]) for trace in traces), 10)]}
    return go.Figure(traces, shape | {"shapes": _moments(history, view)})


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


def _positions(history: History, view: View, run: int, steps: Floats) -> Floats:
    """Where steps are on the axis in view."""
    if view.x == "samples":
        return samples_drawn(history, run, steps)
    if view.x == "seconds":
        rows = history.progress
        return np.interp(steps, rows[:, 0], _seconds(rows, history.costs[: len(rows), run]))
    return steps


def _seconds(rows: Floats, cost: Floats) -> Floats:
    """What a run has cost up to each step; in older logs, which do not tell, the time of all runs together."""
    return rows[:, 1] if np.isnan(cost).any() else np.asarray(cost.cumsum())


def _moments(history: History, view: View) -> list[Trace]:
    """A line at each swap, in the colour of its run, and at the evaluation in view if it is not the latest."""
    marks = [(swap.run, swap.step, {**DOTTED, "color": COLOURS[swap.run]}) for swap in history.swaps]
    snapshot = chosen(history, view)
    if snapshot is not None and snapshot is not history.snapshots[-1]:
        # By samples drawn, runs of different k were not at the same place.
        marks += [(run, snapshot.step, DOTTED) for run in range(len(history.labels))]
    places = [(float(_positions(history, view, run, np.array([float(step)]))[0]), look) for run, step, look in marks]
    return [vertical(*place) for index, place in enumerate(places) if place not in places[:index]]


def _windows(rows: Floats) -> Floats:
    """At most `POINTS` rows, each the average of equally many; the newest are never dropped."""
    width = -(-len(rows) // POINTS)
    whole = len(rows) // width * width
    newest = rows[len(rows) - whole :]
    averaged: Floats = newest.reshape(-1, width, rows.shape[1]).mean(1)
    return averaged
