"""The figure and the table of the lesson "The price of a tight bound"."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.estimators import ESTIMATORS, Target
from iwae_lab.figures import COLOURS
from iwae_lab.lessons.price import Floats, Price, Signal
from ui.lessons.chart import TRUTH, layout, line

PER = ("gradient", "unit of work")
HERE = {"width": 1.5, "dash": "dot", "color": TRUTH}


def figure(signals: dict[str, Signal], k: int, per: str, limits: tuple[float, float]) -> go.Figure:
    """Signal to noise against k, both logarithmic; dashed what climbs the ELBO, solid what climbs a tighter bound."""
    look = layout("k, samples per image (log scale)", "signal to noise (log scale)")
    low, high = np.log10(limits)
    ticks = {"dtick": 1} if high - low > 1.5 else {}  # or there would be one tick, or none
    look["yaxis"] |= {"type": "log", "range": [low, high], "exponentformat": "power", **ticks}
    last = max(signal.ks[-1] for signal in signals.values())
    look["xaxis"] |= {"type": "log", "dtick": 1, "range": [-0.08, np.log10(last) + 0.08]}
    look["shapes"] = [{"type": "line", "x0": k, "x1": k, "yref": "paper", "y0": 0, "y1": 1, "line": HERE}]
    traces = [
        line(s.ks, shown(s, per), ESTIMATORS[name].label, colour, _dash(name), hovertemplate="%{y:.3g}")
        for (name, s), colour in zip(signals.items(), COLOURS, strict=False)
    ]
    return go.Figure(traces, look)


def table(found: Price, names: list[str], k: int) -> str:
    """Mean ± standard deviation of both gradients at one k, and the passes that one estimate costs; Markdown."""
    rows = [f"| at k = {k:,} | {{phi}} | {{theta}} | passes |", "|:--|--:|--:|--:|"]
    for name in names:
        cells = [_cells(part[name], k) for part in (found.encoder, found.decoder)]
        signal = found.encoder[name]
        passes = f"{signal.cost[signal.ks == k][0]:,.0f}" if k in signal.ks else "–"
        rows.append(f"| {ESTIMATORS[name].label} | {cells[0]} | {cells[1]} | {passes} |")
    return "\n".join(rows)


def shown(signal: Signal, per: str) -> Floats:
    """The ratio of one gradient, or of as many as cost the same."""
    return signal.ratio if per == PER[0] else signal.ratio_of_equal_work


def _dash(name: str) -> str:
    return "dash" if ESTIMATORS[name].theta is Target.L_1 else "solid"


def _cells(signal: Signal, k: int) -> str:
    if k not in signal.ks:
        return "–"
    at = int(np.flatnonzero(signal.ks == k)[0])
    return f"{signal.mean[at]:.3g} ± {np.sqrt(signal.variance[at]):.3g}".replace("-", "\u2212")


def summary(part: dict[str, Signal], k: int, per: str) -> str:
    """The ratios at one k in words."""
    values = [f"{ESTIMATORS[n].label} {shown(s, per)[s.ks == k][0]:.3g}" for n, s in part.items() if k in s.ks]
    return f"At k = {k}: {', '.join(values)}."
