"""One training step seen slowly."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Floats
from iwae_lab.figures.figure import FIGURES, Place, bound_line, empty, layout, sentence
from iwae_lab.figures.marks import COLOURS, ELBO, L_K, Trace, dots, faint, sizes
from iwae_lab.history.history import History
from iwae_lab.history.view import View

NO_CLOSEUP = "No single step has been made yet."


def _closeup_summary(history: History, view: View) -> str:
    closeup = history.closeup
    if closeup is None:
        return NO_CLOSEUP
    parts = []
    for label, k, ((elbo, elbo_after), (iwae, iwae_after)) in zip(
        history.labels, closeup.ks, closeup.bounds, strict=True
    ):
        parts.append(
            f"{label}, k = {k}: mean of the logs {elbo:.1f} to {elbo_after:.1f}, "
            f"log of the mean {iwae:.1f} to {iwae_after:.1f}"
        )
    return sentence(f"Step {closeup.step} on one image, in nats", parts)


@FIGURES.register(
    "closeup",
    label="One training step",
    caption=(
        "Every sample of one image before and after an update, on the same noise; the dots show how strongly each "
        "pulled. Dashed is the mean of the logs, solid the log of the mean."
    ),
    summary=_closeup_summary,
    place=Place.PANEL,
    short="One step",
)
def closeup(history: History, view: View) -> go.Figure:
    """log w of each sample before and after the update, each run by itself; dots are as large as the pull."""
    shape = layout(history, "", "log w, nats") | {"hovermode": "closest"}
    seen = history.closeup
    if seen is None:
        return empty(shape, NO_CLOSEUP)
    traces: list[Trace] = []
    for run in range(len(history.labels)):
        known = np.isfinite(seen.before[run])
        before, after, pulls = (values[run][known] for values in (seen.before, seen.after, seen.pulls))
        traces += [_paths(run, before, after), _pulls(run, before, pulls)]
        for bound, values in (ELBO, seen.bounds[run, 0]), (L_K, seen.bounds[run, 1]):
            traces.append(bound_line(history, run, bound, np.array([run, run + 0.6]), values))
    places = [run + side for run in range(len(history.labels)) for side in (0.0, 0.6)]
    names = [text for label in history.labels for text in (f"before<br>{label}", "after")]
    shape["xaxis"] = {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": names,
        "range": [-0.2, places[-1] + 0.2],
        "zeroline": False,
    }
    return go.Figure(traces, shape)


def _paths(run: int, before: Floats, after: Floats) -> Trace:
    """A line for each sample, interrupted between two samples."""
    x = np.tile(np.array([run, run + 0.6, np.nan], np.float32), len(before))
    y = np.stack([before, after, np.full_like(before, np.nan)], 1).reshape(-1)
    look = {"color": faint(COLOURS[run], 0.35), "width": 1}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": look, "showlegend": False, "hoverinfo": "skip"}


def _pulls(run: int, before: Floats, pulls: Floats) -> Trace:
    marker = {"color": faint(COLOURS[run], 0.6), "size": sizes(np.abs(pulls), 20), "line": {"width": 0}}
    hover = "log w %{y:.2f}, pull %{customdata:.3f}<extra></extra>"
    x = np.full(len(before), run)
    return dots(x, before, marker=marker, showlegend=False, customdata=pulls, hovertemplate=hover)
