"""What every figure is made of, in the laboratory, the report and the lessons: axes, lines, bands, dots and bars.

Marks are plain dictionaries until the figure is complete: Plotly then validates them once, not at every step. None has
a colour of the theme.
"""

import re
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from iwae_core.evaluation.estimate import Floats

# Okabe-Ito hues that stay apart for colour-blind eyes and on light and dark grounds; dashes repeat the distinction.
COLOURS = ("#0f80c9", "#e0662a", "#16a37c", "#c7689f")
GREY = "rgba(128,128,128,0.9)"
TRUTH = "#808b97"  # what is known exactly: no model's colour, and visible on light and dark grounds
DOTTED = {"width": 1.5, "dash": "dot", "color": GREY}
L_K, ELBO = "L<sub>k</sub>", "ELBO"
WIDTH = 2.5  # of a line, in pixels
TICKS = (1,), (1, 2, 5), tuple(range(1, 10)), tuple(n / 10 for n in range(10, 100))  # of a decade, in steps of need
ANGLES = np.linspace(0, 2 * np.pi, 49)
SUBSCRIPTS = str.maketrans("0123456789k", "₀₁₂₃₄₅₆₇₈₉ₖ")
Trace: TypeAlias = dict[str, Any]


def axes(x: str, y: str, left: int = 60) -> dict[str, Any]:
    """Two axes with their titles, and a legend on top."""
    return {
        "template": None,
        "margin": {"l": left, "r": 12, "t": 8, "b": 48},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "x unified",
    }


def decades(last: float, beyond: float = 0.06) -> dict[str, Any]:
    """A logarithmic axis from 1 to `last` and a little beyond, a tick for each power of ten."""
    return {"type": "log", "dtick": 1, "range": [-beyond, float(np.log10(last)) + beyond]}


def logarithmic(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis for values from `low` to `high`, with as few ticks as make three, each named in full."""
    margin = 0.02 + 0.06 * np.log10(high / low)
    start, end = float(np.log10(low) - margin), float(np.log10(high) + margin)
    for digits in TICKS:
        places = (digit * 10.0**power for power in range(int(start) - 1, int(end) + 1) for digit in digits)
        ticks = [tick for tick in places if start <= np.log10(tick) <= end]
        if len(ticks) > 2:
            break
    return {"type": "log", "range": [start, end], "tickvals": ticks, "ticktext": [_named(tick) for tick in ticks]}


def _named(tick: float) -> str:
    power = np.log10(tick)
    return f"10<sup>{power:.0f}</sup>".replace("-", "\u2212") if power <= -4 else f"{tick:,.6g}"


def vertical(x: float, colour: str = GREY) -> dict[str, Any]:
    """A dotted line across the plot at x."""
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": DOTTED | {"color": colour}}


def horizontal(y: float) -> dict[str, Any]:
    """A dotted line across the plot at y."""
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": DOTTED}


def between(start: float, end: float, text: str) -> dict[str, Any]:
    """A part of the x axis behind everything else, with a remark in it."""
    place = {"type": "rect", "x0": start, "x1": end, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    label = {"text": text, "textposition": "top center", "padding": 60, "font": {"size": 12}}
    return place | {"fillcolor": faint("#808080", 0.15), "line": {"width": 0}, "label": label}


def line(
    x: ArrayLike, y: ArrayLike, name: str, colour: str, dash: str = "solid", width: float = WIDTH, **more: Any
) -> Trace:
    """A line through points."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x, np.float32),
        "y": np.asarray(y, np.float32),
        "name": name,
        "line": {"color": colour, "width": width, "dash": dash},
        **more,
    }


def band(of: Trace, half: Floats) -> Trace:
    """The region this far above and below a line, as far as it is known."""
    known = np.isfinite(half) & np.isfinite(of["y"])
    x, y, half = of["x"][known], of["y"][known], half[known]
    return {
        "type": "scatter",
        "mode": "lines",  # Plotly would mark every one of a few points
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([y - half, (y + half)[::-1]]).astype(np.float32),
        "fill": "toself",
        "fillcolor": faint(of["line"]["color"], 0.11),
        "line": {"width": 0},
        **part_of(of),
    }


def filled(of: Trace, opacity: float) -> Trace:
    """A line with the area below it, down to zero."""
    return of | {"fill": "tozeroy", "fillcolor": faint(of["line"]["color"], opacity)}


def part_of(of: Trace) -> Trace:
    """What makes a trace come and go with another one's entry in the legend, if that is of a group."""
    return {"legendgroup": of.get("legendgroup"), "showlegend": False, "hoverinfo": "skip"}


def dots(x: ArrayLike, y: ArrayLike, *, marker: dict[str, Any], **more: Any) -> Trace:
    """Points that no line joins."""
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker, **more}


def sizes(weights: Floats, largest: float) -> Floats:
    """How wide dots are whose area grows with their weight, in pixels: 3, and for the weight 1 `largest` more."""
    return np.asarray(3 + largest * np.sqrt(weights), np.float32)


def bars(x: ArrayLike, y: ArrayLike, name: str, colour: str, **more: Any) -> Trace:
    """Bars of one colour."""
    return {"type": "bar", "x": x, "y": np.asarray(y, np.float32), "name": name, "marker": {"color": colour}, **more}


def ellipses(mean: Floats, scale: Floats, name: str, colour: str, dash: str = "solid") -> Trace:
    """A normal distribution in the plane at one and at two standard deviations."""
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)])
    rings = [mean[:, None] + size * scale[:, None] * circle for size in (1, 2)]
    x, y = np.concatenate([rings[0], np.full((2, 1), np.nan), rings[1]], 1)
    return line(x, y, name, colour, dash, 2, hoverinfo="skip")


def in_words(text: str) -> str:
    """A text of a figure with its subscripts as letters, for a summary."""
    return re.sub("<sub>(.*?)</sub>", lambda found: found[1].translate(SUBSCRIPTS), text)


def faint(colour: str, opacity: float) -> str:
    """A hexadecimal colour, seen through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
