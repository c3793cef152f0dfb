"""Figures over k: both bounds, what separates the runs, the gap to log p(x), and the spread of one estimate."""

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.training.events import Snapshot
from iwae_lab.figures.figure import (
    FIGURES,
    NO_EVALUATION,
    NOT_KEPT,
    STDERRS,
    Place,
    against_k,
    bound_line,
    empty,
    error_band,
    marker,
    sentence,
    uncovered,
)
from iwae_lab.figures.marks import ELBO, L_K, Trace, band, between, horizontal, in_words, logarithmic, vertical
from iwae_lab.history.history import History
from iwae_lab.history.view import View, chosen, eval_ks, point

ALONE = "There is one run, and nothing to compare it with."
BLIND = 0.1  # of the largest k: from there on, what L_k at the largest k still lacks is not small beside a gap from it


def _bounds_summary(history: History, view: View) -> str:
    snapshot, at = chosen(history, view), point(history, view)
    if snapshot is None or history.spec is None:
        return NO_EVALUATION
    runs = zip(history.labels, snapshot.iwae[:, at].mean(-1), snapshot.elbo.mean(-1), strict=True)
    parts = [f"{label} model: Lₖ {iwae:.1f}, ELBO {elbo:.1f}" for label, iwae, elbo in runs]
    start = f"Bounds on held-out images against k. At k = {history.spec.eval_ks[at]}"
    return sentence(start, parts, " nats per image")


@FIGURES.register(
    "bounds",
    label="Bounds against k",
    caption="Both bounds of each model on held-out images, with two standard errors, as k varies.",
    summary=_bounds_summary,
    place=Place.PLOT,
    short="Bounds",
)
def bounds_against_k(history: History, view: View) -> go.Figure:
    """L_k (solid) and the k-sample minibatch ELBO (dashed) of every run against k, with +-2 standard errors."""
    snapshot, ks = chosen(history, view), eval_ks(history)
    shape = against_k(history, "nats per held-out image")
    if snapshot is None:
        return empty(shape, NO_EVALUATION)
    at, traces = point(history, view), []
    for run in range(len(history.labels)):
        for curve, errors in _curves(history, run, estimate(snapshot.iwae[run]), estimate(snapshot.elbo[run])):
            traces += [errors, curve, marker(curve, at)]
    return go.Figure(uncovered(traces), shape | {"shapes": [vertical(float(ks[at]))]})


def _curves(history: History, run: int, l_k: Estimate, elbo: Estimate) -> Iterator[tuple[Trace, Trace]]:
    """What is estimated of both bounds of a run, against k, each with its band of errors.

    The ELBO's estimate is the same at every k: the average of all blocks of k samples is the average of all.
    """
    ks = eval_ks(history)
    flat = Estimate(np.full(len(ks), elbo.mean), np.full(len(ks), elbo.stderr))
    for bound, values in (L_K, l_k), (ELBO, flat):
        curve = bound_line(history, run, bound, ks, values.mean)
        yield curve, error_band(curve, values)


def _difference_summary(history: History, view: View) -> str:
    snapshot, at = chosen(history, view), point(history, view)
    if snapshot is None or history.spec is None:
        return NO_EVALUATION
    first, *others = history.labels
    if not others:
        return ALONE
    parts = []
    for run, label in enumerate(others, 1):
        iwae, elbo = (estimate(values[run] - values[0]) for values in (snapshot.iwae[:, at], snapshot.elbo))
        parts.append(
            f"{label}: Lₖ {iwae.mean:+.2f} ± {2 * iwae.stderr:.2f}, ELBO {elbo.mean:+.2f} ± {2 * elbo.stderr:.2f}"
        )
    return sentence(f"Lead over {first} in nats per image at k = {history.spec.eval_ks[at]}", parts)


@FIGURES.register(
    "difference",
    label="Difference of the models",
    caption=(
        "Each model minus the first, image by image on the same noise, with two standard errors of that difference."
    ),
    summary=_difference_summary,
    place=Place.PLOT,
    short="Difference",
)
def difference(history: History, view: View) -> go.Figure:
    """L_k (solid) and ELBO (dashed) of each run minus those of the first, paired, with +-2 standard errors."""
    snapshot, ks = chosen(history, view), eval_ks(history)
    shape = against_k(history, f"nats above {history.labels[0]}" if history.labels else "nats")
    if snapshot is None or len(history.labels) < 2:
        return empty(shape, ALONE if snapshot else NO_EVALUATION)
    traces: list[Trace] = []
    for run in range(1, len(history.labels)):
        leads = (estimate(bounds[run] - bounds[0]) for bounds in (snapshot.iwae, snapshot.elbo))
        for curve, errors in _curves(history, run, *leads):
            traces += [errors, curve | {"hovertemplate": "%{y:+.2f}"}]
    moments = [horizontal(0.0), vertical(float(ks[point(history, view)]))]
    return go.Figure(uncovered(traces), shape | {"shapes": moments})


def _gaps(snapshot: Snapshot, run: int) -> tuple[Estimate, Estimate]:
    """log p(x) minus L_k for each k, and minus the ELBO. Where log p(x) is not known, L_k at the largest k stands for
    it, and that point says nothing about itself.
    """
    log_p = snapshot.log_p[run] if _known(snapshot, run) else snapshot.iwae[run, -1]
    below, of_elbo = estimate(log_p - snapshot.iwae[run]), estimate(log_p - snapshot.elbo[run])
    # A logarithmic axis has no place for a gap that cannot be told from zero.
    told = below.mean > STDERRS * below.stderr
    return Estimate(np.where(told, below.mean, np.nan), below.stderr), of_elbo


def _known(snapshot: Snapshot, run: int) -> bool:
    return bool(snapshot.log_p.size and np.isfinite(snapshot.log_p[run]).all())


def _reference(history: History, snapshot: Snapshot) -> str:
    """What the gaps are measured from."""
    known = [_known(snapshot, run) for run in range(len(history.labels))]
    largest = f"L<sub>{history.spec.eval_ks[-1] if history.spec else 0}</sub>"
    if all(known):
        return "log p(x)"
    return f"log p(x) or, where unknown, {largest}" if any(known) else largest


def _gap_summary(history: History, view: View) -> str:
    snapshot, at = chosen(history, view), point(history, view)
    if snapshot is None or history.spec is None:
        return NO_EVALUATION
    reference = in_words(_reference(history, snapshot))
    parts = []
    for run, label in enumerate(history.labels):
        below, of_elbo = _gaps(snapshot, run)
        own = f"{below.mean[at]:.2f}" if np.isfinite(below.mean[at]) else "none to be seen"
        parts.append(f"{label} model: Lₖ {own}, ELBO {of_elbo.mean:.2f}")
    return sentence(f"Distance in nats from {reference} at k = {history.spec.eval_ks[at]}", parts)


@FIGURES.register(
    "gap",
    label="Gap of each bound",
    caption=(
        "How far each bound is below log p(x) where that is known: the ELBO as far at every k, $L_k$ in the end in "
        "proportion to 1/k. Elsewhere the gap is counted from the model's own $L_k$ at the largest k, which is lower "
        "than log p(x) by an unknown part; where that part is not small beside what is drawn, the plot is grey."
    ),
    summary=_gap_summary,
    place=Place.PLOT,
    short="Gap",
)
def gap(history: History, view: View) -> go.Figure:
    """log p(x) - L_k (solid) and log p(x) - ELBO (dashed) on logarithmic axes, with +-2 standard errors.

    log p(x) is exact where a model knows it; elsewhere L_k at the largest k stands for it, the axis says so, and the
    part of the plot where that matters is grey. Gaps within two standard errors of zero are left out.
    """
    snapshot, ks = chosen(history, view), eval_ks(history)
    shape = against_k(history, "gap, nats (log scale)")
    if snapshot is None:
        return empty(shape, NO_EVALUATION)
    traces: list[Trace] = []
    for run in range(len(history.labels)):
        for curve, errors in _curves(history, run, *_gaps(snapshot, run)):
            traces += [errors, curve | {"hovertemplate": "%{y:.3g}"}]
    seen = np.concatenate([trace["y"] for trace in traces if trace.get("name")])
    seen = seen[seen > 0]  # a logarithmic axis has no place for others
    shape["yaxis"] |= {"title": {"text": f"{_reference(history, snapshot)} − bound, nats (log scale)"}}
    shape["yaxis"] |= logarithmic(float(seen.min()), float(seen.max())) if len(seen) else {"type": "log"}
    moments = [vertical(float(ks[point(history, view)])), *_blind(history, snapshot, float(ks[-1]))]
    return go.Figure(uncovered(traces), shape | {"shapes": moments})


def _blind(history: History, snapshot: Snapshot, last: float) -> list[Trace]:
    """Where gaps are counted from a bound, and what that lacks is not small beside them."""
    if all(_known(snapshot, run) for run in range(len(history.labels))):
        return []
    return [between(BLIND * last, 1.15 * last, "unknown part<br>of log p(x)<br>not small here")]


def _spread_summary(history: History, view: View) -> str:
    snapshot, at = chosen(history, view), point(history, view)
    if snapshot is None or history.spec is None:
        return NO_EVALUATION
    if not snapshot.spread.size:
        return NOT_KEPT
    parts = [
        f"{label} model: ELBO {elbo:.2f}" + (f", Lₖ {iwae:.2f}" if np.isfinite(iwae) else "")
        for label, (elbo, iwae) in zip(history.labels, snapshot.spread[:, :, at], strict=True)
    ]
    start = f"Standard deviation of one estimate from k = {history.spec.eval_ks[at]} samples of an image"
    return sentence(start, parts, " nats")


@FIGURES.register(
    "spread",
    label="One estimate and its noise",
    caption=(
        "One standard deviation of a single k-sample estimate for a given image: around the ELBO it narrows and "
        "the line stays where it is, around $L_k$ it narrows while the line climbs."
    ),
    summary=_spread_summary,
    place=Place.PLOT,
    short="One estimate",
)
def spread(history: History, view: View) -> go.Figure:
    """The mean of each estimate with a band of +-1 standard deviation of one estimate, over fresh samples."""
    snapshot, ks = chosen(history, view), eval_ks(history)
    shape = against_k(history, "one estimate of one image, nats")
    if snapshot is None or not snapshot.spread.size:
        return empty(shape, NOT_KEPT if snapshot else NO_EVALUATION)
    traces: list[Trace] = []
    for run in range(len(history.labels)):
        for row, bound, mean in (1, L_K, snapshot.iwae[run].mean(-1)), (0, ELBO, snapshot.elbo[run].mean()):
            curve = bound_line(history, run, bound, ks, np.broadcast_to(mean, ks.shape))
            traces += [band(curve, snapshot.spread[run, row]), curve]
    return go.Figure(uncovered(traces), shape | {"shapes": [vertical(float(ks[point(history, view)]))]})
