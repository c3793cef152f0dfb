"""The tables of the paper, cell by cell: what it reports, and what models of our own achieve."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from iwae_core.estimators import ESTIMATORS
from iwae_lab.figures.figure import STDERRS, sentence
from iwae_lab.figures.marks import COLOURS, GREY, Trace, axes, dots, faint
from iwae_lab.paper.cells import PAPER, Cell
from iwae_lab.paper.groups import reference
from iwae_lab.paper.results import Result

ESTIMATORS_SHOWN = {"vae": COLOURS[0], "iwae": COLOURS[1]}
APART = 0.16  # of the distance between rows: how far a model is above or below the middle of its row


def reproduced(results: Mapping[Cell, Result], dataset: str = "mnist") -> go.Figure:
    """The test NLL of each cell with +-2 standard errors (filled), joined to the paper's (open); fewer nats are better.

    A cell that has not been run shows the paper's alone, and says so.
    """
    cells, rows = shown(dataset), _rows(dataset)
    traces: list[Trace] = []
    for name, colour in ESTIMATORS_SHOWN.items():
        own = [cell for cell in cells if cell.estimator == name]
        heights = {cell: rows[_row(cell)] + (APART if name == "vae" else -APART) for cell in own}
        traces += _traces(ESTIMATORS[name].label, colour, heights, results)
    look = axes("test NLL, nats per image", "", left=8) | {"hovermode": "closest", "uirevision": dataset}
    look["yaxis"] = {"tickvals": list(rows.values()), "ticktext": list(rows), "automargin": True, "zeroline": False}
    return go.Figure(traces, look)


def reproduced_summary(results: Mapping[Cell, Result], dataset: str = "mnist") -> str:
    """The figure in words, for readers who do not see it."""
    parts = [
        f"{_row(cell)}, {ESTIMATORS[cell.estimator].label}: "
        + (_told(results[cell], ", ") if cell in results else "not yet run")
        + f", paper {PAPER[cell].nll:.2f}"
        for cell in shown(dataset)
    ]
    return sentence("Test NLL in nats per image beside the paper's", parts)


def shown(dataset: str) -> list[Cell]:
    """The cells of a data set, each model once, in the order of the paper's tables."""
    return [cell for cell in PAPER if cell.dataset == dataset and cell.model == cell]


def _told(result: Result, then: str) -> str:
    """Its NLL, and how far it is ahead of the model it is compared with, on the same images."""
    text, compared = f"{result.nll:.2f}", reference(result.cell)
    if compared is None or result.lead is None or result.lead_stderr is None:
        return text
    return f"{text}{then}ahead of {compared.label} by {result.lead:+.2f} ± {STDERRS * result.lead_stderr:.2f}"


def _row(cell: Cell) -> str:
    if cell.before:
        return f"{ESTIMATORS[cell.before[0]].label} → {ESTIMATORS[cell.estimator].label}"
    return f"{cell.layers} layer{'s' * (cell.layers > 1)}, k = {cell.k}"


def _rows(dataset: str) -> dict[str, int]:
    """Each row's height, the first on top."""
    names = dict.fromkeys(map(_row, shown(dataset)))
    return {name: -number for number, name in enumerate(names)}


def _traces(label: str, colour: str, heights: Mapping[Cell, float], results: Mapping[Cell, Result]) -> Sequence[Trace]:
    ours = [cell for cell in heights if cell in results]
    joints = [(value, heights[cell]) for cell in ours for value in (results[cell].nll, PAPER[cell].nll, float("nan"))]
    filled = {"size": 10, "color": colour}
    paper = {"size": 10, "symbol": "circle-open", "color": colour, "line": {"width": 2}}
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [x for x, _ in joints],
            "y": [y for _, y in joints],
            "line": {"color": faint(colour, 0.35), "width": 2},
            "showlegend": False,
            "hoverinfo": "skip",
        },
        {
            **dots([results[cell].nll for cell in ours], [heights[cell] for cell in ours], marker=filled),
            "name": label,
            "error_x": {"array": [STDERRS * results[cell].nll_stderr for cell in ours], "thickness": 1.2},
            "hovertext": [_told(results[cell], "<br>") for cell in ours],
            "hovertemplate": "%{hovertext}",
        },
        {
            **dots([PAPER[cell].nll for cell in heights], list(heights.values()), marker=paper),
            "mode": "markers+text",
            "text": ["" if cell in results else "not yet run" for cell in heights],
            "textposition": "middle right",
            "textfont": {"color": GREY, "size": 11},
            "name": f"{label}, paper",
            "hovertemplate": "%{x:.2f}",
        },
    ]
