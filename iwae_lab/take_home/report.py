"""A finished or running experiment as one HTML file that needs nothing else: no network, no server, no library."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.utils import PlotlyJSONEncoder

from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.training.events import Failed, Finished
from iwae_core.training.fields import limits
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.arguments import command
from iwae_lab.figures import COLOURS, FIGURES, digit_sheet, plotly_js
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.take_home.recipe import performed, snippet
from iwae_lab.words import sentences as words
from iwae_lab.words.markup import inline, markdown_table, math, table

# The browser itself is told to load nothing; Plotly writes style sheets.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
STYLE, SCRIPT = (Path(__file__).with_suffix(suffix) for suffix in (".css", ".js"))
FRAMES = 40  # evaluations to choose from: each takes a few kilobytes


# Figures of the report, and whether readers can go back to each evaluation.
CHARTS = {"bounds": True, "curves": False, "difference": True, "gap": False, "spread": False}


def report(history: History, dialect: str = words.Dialect.STATISTICS) -> str:
    """The whole experiment: what was trained, both bounds, training, digits, every setting and how to repeat it.

    Raises:
        ValueError: nothing has begun.
        SpecError: the log names an estimator that there is not.
    """
    spec = performed(history)
    body = words.say("\n".join(_body(history, spec, View(spec.eval_ks[-1]))), dialect)
    title = escape(f"{' and '.join(run.label for run in spec.runs)}: {words.TITLE}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE.read_text("utf-8")}</style>
</head>
<body>
<main>
{body}
</main>
<script>{plotly_js.source()}</script>
<script>{SCRIPT.read_text("utf-8")}</script>
</body>
</html>
"""


def _body(history: History, spec: ExperimentSpec, view: View) -> Iterator[str]:
    yield f"<h1>{escape(words.TITLE)}</h1>"
    yield f"<p>{inline(words.QUESTION)}</p>{math(words.EQUATIONS, display=True)}"
    yield f"<p><strong>{escape(words.describe(spec))}.</strong> {escape(_outcome(history, spec))}</p>"
    yield "<noscript><p>The charts are drawn by JavaScript; without it, their numbers are in the tables.</p></noscript>"
    yield _chart("bounds", history, view)
    reading = read_at(history, view)
    if reading is not None:
        yield markdown_table(words.readout(reading))
        yield f'<p class="note">{inline(words.PRECISION)}</p>'
        yield from (f"<p>{inline(finding)}</p>" for finding in words.findings(reading))
    yield from (_chart(name, history, view) for name in CHARTS if name != "bounds")
    yield from _digits(history, spec)
    yield from _settings(spec)
    yield from _repeat(spec)


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


def _chart(name: str, history: History, view: View) -> str:
    """A figure's place, its summary, its numbers as a table, and what the script needs to draw it."""
    entry = FIGURES[name]
    views = [replace(view, at=at) for at in _moments(history)] if CHARTS[name] else [view]
    frames = [
        {
            **entry(history, moment).to_plotly_json(),
            "summary": entry.summary(history, moment),
            "step": f"after step {history.snapshots[moment.at].step:,}" if history.snapshots else "",
        }
        for moment in views
    ]
    last, slider = len(frames) - 1, ""
    if last > 0:
        slider = (
            f'<label class="time">evaluation <input type="range" max="{last}" value="{last}"><output></output></label>'
        )
    return f"""<h2>{inline(entry.label)}</h2>
<figure class="chart"><div class="plot"></div>{slider}
<figcaption>{escape(frames[-1]["summary"])}</figcaption>
<details><summary>Numbers of this chart</summary>{_numbers(entry(history, view))}</details>
<script type="application/json">{_json(frames)}</script>
</figure><p class="note">{inline(entry.caption)}</p>"""


def _moments(history: History) -> list[int]:
    """The evaluations, or `FRAMES` of them, the first and the last among them."""
    count = len(history.snapshots)
    return [int(index) for index in np.unique(np.linspace(0, max(count - 1, 0), FRAMES).round())]


def _json(value: Any) -> str:
    """JSON that cannot end the element it is in."""
    return json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":")).replace("<", "\\u003c")


def _numbers(figure: go.Figure) -> str:
    """The lines of a figure as a table, one row for each x."""
    lines = [trace for trace in figure.data if trace.name and trace.type in ("scatter", "bar")]
    columns = [dict(zip(np.asarray(line.x).tolist(), np.asarray(line.y).tolist(), strict=True)) for line in lines]
    body = [
        [f"{x:,.7g}" if isinstance(x, float) else escape(str(x)), *(_number(column.get(x)) for column in columns)]
        for x in sorted({x for column in columns for x in column})
    ]
    return table(map(_plotly_text, [figure.layout.xaxis.title.text or "", *(line.name for line in lines)]), body)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plotly_text(text: str) -> str:
    """Plotly's own little markup: subscripts are all we use of it."""
    return escape(text).replace("&lt;sub&gt;", "<sub>").replace("&lt;/sub&gt;", "</sub>")


def _digits(history: History, spec: ExperimentSpec) -> Iterator[str]:
    if history.originals is None or not history.snapshots:
        return
    snapshot = history.snapshots[-1]
    yield f"<h2>{escape(words.PANEL_HEADING)}</h2>"
    yield _row("held-out digits", history.originals, "currentColor")
    for what, digits in ("reconstructed", snapshot.reconstructions), ("sampled from the prior", snapshot.samples):
        for run, row, colour in zip(spec.runs, digits, COLOURS, strict=False):
            yield _row(f"{run.label}: {what}", row, colour)
    data = DATASETS[spec.dataset]
    yield f'<p class="note">{escape(data.label)}: {escape(data.source)}</p>'


def _row(caption: str, digits: NDArray[np.uint8], colour: str) -> str:
    png = base64.b64encode(digit_sheet(digits)).decode()
    return f"""<figure class="digits"><figcaption style="border-color:{colour}">{escape(caption)}</figcaption>
<img src="data:image/png;base64,{png}" alt="{escape(caption)}: {len(digits)} images"></figure>"""


def _settings(spec: ExperimentSpec) -> Iterator[str]:
    """Every setting of the runs, each with what its estimator computes, and of the experiment."""
    yield '<h2>Settings</h2><div class="prose">'
    body = []
    for number, run in enumerate(spec.runs):
        facts = ESTIMATORS[run.estimator]
        own = "".join(f", {name} = {value}" for name, value in {**facts.settings, **run.settings}.items())
        cells = str(number), f"{run.label} ({run.estimator})", f"{run.k:,}{own}", MODELS[run.model].label, facts.source
        body.append([*map(escape, cells), math(facts.equation)])
    yield table(["run", "trained by", "k", "model", "source", "gradient"], body)
    for swap in spec.swaps:
        label = ESTIMATORS[swap.estimator].label
        yield f"<p>After {swap.step:,} steps, run {swap.run} goes on with {escape(label)}, k = {swap.k:,}.</p>"
    named = {"dataset": DATASETS[spec.dataset].label, "schedule": SCHEDULES[spec.schedule].label}
    values = {limit.label: getattr(spec, name) for name, limit in limits(ExperimentSpec).items()}
    numbers = {label: "none" if value is None else f"{value:,}" for label, value in values.items()}
    yield table(["setting", "value"], ([escape(name), escape(value)] for name, value in (named | numbers).items()))
    yield "</div>"


def _repeat(spec: ExperimentSpec) -> Iterator[str]:
    yield "<h2>Repeat it</h2><p>On the command line:</p>"
    yield f"<pre><code>{escape(command(spec))}</code></pre><p>In Python:</p>"
    yield f"<pre><code>{escape(snippet(spec))}</code></pre>"
    yield "<details><summary>The specification, which <code>train --spec FILE</code> trains</summary>"
    yield f"<pre>{escape(spec.to_json(indent=2))}</pre></details>"
