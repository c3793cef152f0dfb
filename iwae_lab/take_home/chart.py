"""A chart of a file to take home: what is said of it, its numbers as a table, and what the script needs to draw it."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.utils import PlotlyJSONEncoder


class Frame(NamedTuple):
    """A figure, the same in words, and after which step it shows the experiment, if there are several to go through."""

    figure: go.Figure
    summary: str
    step: str = ""


def chart(label: str, caption: str, frames: Sequence[Frame]) -> dict[str, Any]:
    """What `chart` in `chart.html.jinja` shows; the last frame first."""
    columns, *numbers = _numbers(frames[-1].figure)
    drawn = [{**figure.to_plotly_json(), "summary": summary, "step": step} for figure, summary, step in frames]
    return {
        "label": label,
        "caption": caption,
        "summary": frames[-1].summary,
        "columns": columns,
        "numbers": numbers,
        "frames": _json(drawn),
        "last": len(frames) - 1,
    }


def _json(value: Any) -> Markup:
    """JSON that cannot end the element it is in."""
    return Markup(json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":")).replace("<", "\\u003c"))


def _numbers(figure: go.Figure) -> list[list[str]]:
    """The lines of a figure as a table with a head, one row for each x."""
    lines = [trace for trace in figure.data if trace.name and trace.type in ("scatter", "bar")]
    columns = [dict(zip(np.asarray(line.x).tolist(), np.asarray(line.y).tolist(), strict=True)) for line in lines]
    head: list[str] = [_plotly_text(figure.layout.xaxis.title.text or ""), *(_plotly_text(line.name) for line in lines)]
    body = [
        [f"{x:,.7g}" if isinstance(x, float) else str(x), *(_number(column.get(x)) for column in columns)]
        for x in sorted({x for column in columns for x in column})
    ]
    return [head, *body]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _plotly_text(text: str) -> Markup:
    """Plotly's own little markup: subscripts are all we use of it."""
    return Markup(escape(text).replace("&lt;sub&gt;", "<sub>").replace("&lt;/sub&gt;", "</sub>"))
