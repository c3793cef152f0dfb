"""A finished or running experiment as one HTML file that needs nothing else: no network, no server, no library."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup

from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.training.events import Failed, Finished
from iwae_core.training.fields import choices, limits
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.arguments import command
from iwae_lab.figures import COLOURS, FIGURES, Place, digit_sheet, offered, plotly_js
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.take_home.chart import Frame, chart
from iwae_lab.take_home.recipe import performed, snippet
from iwae_lab.words import sentences as words
from iwae_lab.words.markup import math
from iwae_lab.words.opening import TITLE
from iwae_lab.words.templates import template

FRAMES = 40  # evaluations to choose from: each takes a few kilobytes
CHARTS = ("bounds", "curves", *(name for name in offered(Place.PLOT) if name != "bounds"))
REPLAYED = ("bounds", "difference")  # readers can go back to each evaluation


def report(history: History, dialect: words.Dialect = words.Dialect.STATISTICS) -> str:
    """The whole experiment: what was trained, both bounds, training, pictures, every setting and how to repeat it.

    Raises:
        ValueError: nothing has begun.
        SpecError: the log names an estimator that there is not.
    """
    spec = performed(history)
    view = View(spec.eval_ks[-1])
    reading = read_at(history, view)
    return template("iwae_lab/take_home/report.html.jinja").render(
        words=words,
        title=TITLE,
        say=partial(words.say, dialect=dialect),
        spec=spec,
        data=DATASETS[spec.dataset],
        outcome=_outcome(history, spec),
        readout=words.readout(reading) if reading else [],
        findings=words.findings(reading, dialect) if reading else [],
        charts=[_chart(name, history, view) for name in CHARTS],
        pictures=list(_pictures(history, spec)),
        runs=[_run(number, run) for number, run in enumerate(spec.runs)],
        swaps=map(_swap, spec.swaps),
        settings=_settings(spec),
        command=command(spec),
        snippet=snippet(spec),
        plotly=Markup(plotly_js.source()),
    )


def _outcome(history: History, spec: ExperimentSpec) -> str:
    made = f"{history.step:,} of {spec.steps:,} steps, {history.seconds:,.0f} seconds"
    match history.outcome:
        case Failed(step, message):
            return f"It failed at step {step:,}: {message}."
        case Finished(stopped=True):
            return f"It was stopped: {made}."
        case Finished():
            return f"It is complete: {made}."
    return f"It was in training when this report was written: {made}."


def _chart(name: str, history: History, view: View) -> dict[str, Any]:
    """A figure, and where that is of use after which evaluation."""
    entry = FIGURES[name]
    views = [replace(view, at=at) for at in _moments(history)] if name in REPLAYED else [view]
    frames = []
    for moment in views:
        step = f"after step {history.snapshots[moment.at].step:,}" if history.snapshots else ""
        frames.append(Frame(entry(history, moment), entry.summary(history, moment), step))
    return chart(entry.label, entry.caption, frames)


def _moments(history: History) -> list[int]:
    """The evaluations, or `FRAMES` of them, the first and the last among them."""
    count = len(history.snapshots)
    return [int(index) for index in np.unique(np.linspace(0, max(count - 1, 0), FRAMES).round())]


def _pictures(history: History, spec: ExperimentSpec) -> Iterator[tuple[str, bytes, int, str]]:
    """Rows of pictures after the last evaluation: their caption, the picture, how many there are, and their colour."""
    if history.originals is None or not history.snapshots:
        return
    snapshot = history.snapshots[-1]
    yield "held-out images", digit_sheet(history.originals), len(history.originals), "currentColor"
    for what, rows in ("reconstructed", snapshot.reconstructions), ("sampled from the prior", snapshot.samples):
        for run, row, colour in zip(spec.runs, rows, COLOURS, strict=False):
            yield f"{run.label}: {what}", digit_sheet(row), len(row), colour


def _run(number: int, run: RunSpec) -> list[str]:
    """A run's row: every setting, and what its estimator computes."""
    facts = ESTIMATORS[run.estimator]
    own = "".join(f", {name} = {value}" for name, value in {**facts.settings, **run.settings}.items())
    cells = [str(number), f"{run.label} ({run.estimator})", f"{run.k:,}{own}", MODELS[run.model].label, facts.source]
    return [*cells, math(facts.equation)]


def _swap(swap: Swap) -> str:
    label = ESTIMATORS[swap.estimator].label
    return f"After {swap.step:,} steps, run {swap.run} goes on with {label}, k = {swap.k:,}."


def _settings(spec: ExperimentSpec) -> Iterator[tuple[str, str]]:
    """Every setting of the experiment and its value."""
    for name, registry in choices(ExperimentSpec).items():
        yield name, registry[getattr(spec, name)].label
    for name, limit in limits(ExperimentSpec).items():
        value = getattr(spec, name)
        yield limit.label, "none" if value is None else f"{value:,}"
