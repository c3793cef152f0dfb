"""What the lessons' figures have in common."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Lines that stand for the truth are grey: visible on light and dark grounds, and no model's colour.
TRUTH = "#808b97"
Trace = dict[str, Any]


def layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    """A figure without colours of its own, its legend on top."""
    return {
        "template": None,
        "margin": {"l": 60, "r": 12, "t": 8, "b": 48},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "x unified",
        "meta": more,
    }


def line(x: ArrayLike, y: ArrayLike, name: str, colour: str, dash: str = "solid", **more: Any) -> Trace:
    """A line of `layout`'s figure, its values as float32."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x, np.float32),
        "y": np.asarray(y, np.float32),
        "name": name,
        "line": {"color": colour, "width": 2.5, "dash": dash},
        **more,
    }


def translucent(colour: str, share: float) -> str:
    """A hexadecimal colour that lets the background through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"


def minus(value: float, digits: int = 3) -> str:
    """A number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "\u2212")
