"""The figure and the table of the lesson "The price of a tight bound"."""

import numpy as np
import plotly.graph_objects as go

from iwae_core.estimators import ESTIMATORS, Target
from iwae_core.evaluation.estimate import Floats
from iwae_lab.figures.marks import COLOURS, TRUTH, axes, decades, line, vertical
from iwae_lab.lessons.price import Price, Signal
from iwae_lab.words.numbers import markdown, true_minus

PER = ("gradient", "unit of work")


def figure(signals: dict[str, Signal], k: int, per: str, limits: tuple[float, float]) -> go.Figure:
    """Signal to noise against k, both logarithmic; dashed what climbs the ELBO, solid what climbs a tighter bound."""
    look = axes("k, samples per image (log scale)", "signal to noise (log scale)")
    low, high = np.log10(limits)
    ticks = {"dtick": 1} if high - low > 1.5 else {}  # or there would be one tick, or none
    look["yaxis"] |= {"type": "log", "range": [low, high], "exponentformat": "power", **ticks}
    last = max(signal.ks[-1] for signal in signals.values())
    look["xaxis"] |= decades(last, 0.08)
    traces = [
        line(s.ks, shown(s, per), ESTIMATORS[name].label, colour, _dash(name), hovertemplate="%{y:.3g}")
        for (name, s), colour in zip(signals.items(), COLOURS, strict=False)
    ]
    return go.Figure(traces, look | {"shapes": [vertical(k, TRUTH)]})


def table(found: Price, names: list[str], k: int) -> str:
    """Mean ± standard deviation of both gradients at one k, and the passes that one estimate costs; Markdown."""
    rows = []
    for name in names:
        encoder, decoder = found.encoder[name], found.decoder[name]
        passes = f"{encoder.cost[encoder.ks == k][0]:,.0f}" if k in encoder.ks else "–"
        rows.append((ESTIMATORS[name].label, _moments(encoder, k), _moments(decoder, k), passes))
    return markdown((f"at k = {k:,}", "{phi}", "{theta}", "passes"), rows)


def shown(signal: Signal, per: str) -> Floats:
    """The ratio of one gradient, or of as many as cost the same."""
    return signal.ratio if per == PER[0] else signal.ratio_of_equal_work


def _dash(name: str) -> str:
    return "dash" if ESTIMATORS[name].theta is Target.L_1 else "solid"


def _moments(signal: Signal, k: int) -> str:
    if k not in signal.ks:
        return "–"
    at = int(np.flatnonzero(signal.ks == k)[0])
    return true_minus(f"{signal.mean[at]:.3g} ± {np.sqrt(signal.variance[at]):.3g}")


def summary(part: dict[str, Signal], k: int, per: str) -> str:
    """The ratios at one k in words."""
    values = [f"{ESTIMATORS[n].label} {shown(s, per)[s.ks == k][0]:.3g}" for n, s in part.items() if k in s.ks]
    return f"At k = {k}: {', '.join(values)}."
