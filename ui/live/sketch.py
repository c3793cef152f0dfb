"""A sheet of paper to draw on, with mouse, pen, finger or keyboard."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.live.component import alone

Strokes = list[list[tuple[float, float]]]
_HTML = """
<div class="sketch">
  <div class="sketch-paper">
    <canvas width="560" height="560" role="application" tabindex="0"
      aria-label="Paper to draw on. Arrow keys move the pen, the space bar puts it down or lifts it."></canvas>
    <span class="sketch-hint" aria-hidden="true">Draw here<small><br>or with arrow keys and space bar</small></span>
  </div>
  <button type="button">Undo</button>
  <button type="button">Clear</button>
</div>
"""
# Paper is white and ink black in either theme, like the pictures of digits.
_CSS = """
.sketch { display: flex; flex-wrap: wrap; gap: 0.5rem; max-width: 280px; }
.sketch-paper { position: relative; width: 100%; }
.sketch canvas {
  aspect-ratio: 1; background: #fff; border: 1px solid rgba(128, 128, 128, 0.5); border-radius: 0.5rem;
  cursor: crosshair; display: block; touch-action: none; width: 100%;
}
.sketch-hint {
  align-content: center; color: #767676; inset: 0; pointer-events: none; position: absolute; text-align: center;
}
.sketch canvas:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
.sketch-hint small { display: none; }
canvas:focus-visible + .sketch-hint small { display: inline; }
.sketch-hint[hidden] { display: none; }
.sketch button {
  background: none; border: 1px solid var(--st-border-color); border-radius: 0.5rem; color: inherit; cursor: pointer;
  flex: 1; font: inherit; font-size: 0.875rem; min-height: 2.25rem;
}
.sketch button:disabled { cursor: default; opacity: 0.4; }
.sketch button:focus-visible { outline: 2px solid var(--st-primary-color); }
"""
_mount = alone("sketch", _HTML, _CSS, "sketch.js")


def sketch(*, key: str, pen: float, turn: int, on_drawing: Callable[[Strokes], None]) -> None:
    """Show the paper; `on_drawing` gets all strokes after each is finished or taken back, none if it was cleared.

    Points are in units of the paper's side, from its upper left corner; the pen is as wide as this share of it. Another
    `turn` empties the paper.
    """
    _mount(key=key, data={"pen": pen, "turn": turn}, on_drawing_change=lambda: _tell(key, on_drawing))


def _tell(key: str, on_drawing: Callable[[Strokes], None]) -> None:
    strokes = _strokes(st.session_state[key]["drawing"])
    if strokes is not None:
        on_drawing(strokes)


def _strokes(sent: Any) -> Strokes | None:
    """What came from a browser, if it has the form of strokes."""
    try:
        return [[(float(x), float(y)) for x, y in stroke] for stroke in sent["strokes"]]
    except (KeyError, TypeError, ValueError):
        return None
