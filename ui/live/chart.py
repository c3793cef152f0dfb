"""One live chart: a Plotly figure that is redrawn in place, so that zoom, legend choice and hover survive updates.

`st.plotly_chart` identifies a chart by the hash of its figure and therefore remounts it on every change of the data;
this component keeps its DOM node and hands each new figure to `Plotly.react`.
"""

import json
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from ui.live.component import component
from ui.live.plotly_route import plotly_js_url

_HTML = """
<figure class="live-chart">
  <div class="live-chart-plot"></div>
  <p class="live-chart-note" role="status">Loading the chart…</p>
  <figcaption></figcaption>
</figure>
"""

_CSS = """
.live-chart { margin: 0; position: relative; }
/* Its place has a height: what is a little higher must not scroll in it, or a finger on it would not move the page. */
.stApp .stElementContainer:has(.live-chart) { overflow: visible; }
.live-chart-note {
  align-content: center; color: var(--st-gray-text-color); inset: 0; margin: 0; padding: 1rem; position: absolute;
  text-align: center;
}
.live-chart-note:empty { display: none; }
.live-chart figcaption { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px; }
/* Buttons beside the title of the x axis, or below it in a narrow chart: at the top they would cover a legend. */
.live-chart .modebar-container { bottom: 24px; top: auto !important; }
.live-chart .modebar { bottom: 0; top: auto; }
.live-chart .spikeline[stroke="rgb(255, 255, 255)"] { stroke: transparent; }
.live-chart .modebar-btn:focus-visible { outline: 2px solid var(--st-primary-color) !important; }
@media (prefers-reduced-motion: reduce) { .live-chart * { transition: none !important; } }
"""

_mount = component("live_chart", _HTML, _CSS, "chart.js")


def chart_component(*, key: str, data: dict[str, Any], on_pin_change: Callable[[], None]) -> None:
    """Mount a chart whose drawings come over the web socket, from `data["look"]`."""
    drawn, height = {**data, "plotly_js": plotly_js_url()}, data["height"]
    # What is below would move if the place were made only with the chart.
    _mount(key=key, data=drawn, height=height if isinstance(height, int) else "content", on_pin_change=on_pin_change)


def figure_json(figure: go.Figure) -> str:
    """The figure as text, so that it is encoded once; Plotly's own encoder writes dates and turns NaN into null."""
    spec = figure.to_plotly_json()
    spec["layout"].pop("template", None)
    return json.dumps(spec, cls=PlotlyJSONEncoder, separators=(",", ":"))


def live_chart(figure: go.Figure, *, key: str, description: str, height: int = 420) -> None:
    """Show `figure`, or update the chart already mounted under `key`.

    `description` is its text alternative, one sentence. Send the whole window every time, as float32 arrays: Streamlit
    may drop all but the latest of several updates. Colours of text, grid and background follow Streamlit's theme
    unless the figure sets them.
    """
    _mount(
        key=key,
        data={
            "description": description,
            "figure": figure_json(figure),
            "height": height,
            "name": key,
            "plotly_js": plotly_js_url(),
        },
        height=height,
    )
