"""The smallest page with a live chart: two growing curves whose x range grows with them."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from streamlit import runtime

from ui.live.chart import live_chart
from ui.live.plotly_route import plotly_js_route


def figure(update: int, reference: bool) -> go.Figure:
    """Two bounds after `update` updates, below a reference if asked for; `meta` carries the number to the tests."""
    steps = np.arange(200 + 10 * update, dtype=np.float32)
    traces = [
        go.Scatter(x=steps, y=-86 - 60 * np.exp(-steps / 60), name="VAE, k = 5", line_color="#d55e00"),
        go.Scatter(x=steps, y=-84 - 60 * np.exp(-steps / 80), name="IWAE, k = 5", line_color="#0072b2"),
    ]
    if reference:
        traces.insert(0, go.Scatter(x=steps[[0, -1]], y=[-83, -83], name="log p(x)", line_color="#7f7f7f"))
    fig = go.Figure(traces)
    fig.update_layout(
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        meta={"update": update},
        xaxis={"title": "Training step", "range": [0, len(steps)]},
        yaxis={"title": "Bound on log p(x) in nats", "hoverformat": ".1f"},
    )
    return fig


@st.fragment(run_every=0.5)
def chart() -> None:
    """Redraw twice a second."""
    update = st.session_state.updates = st.session_state.get("updates", -1) + 1
    fig = figure(update, reference=st.checkbox("Reference"))
    live_chart(fig, key="bounds", description="Two bounds rise during training.")


if runtime.exists():
    st.title("Live chart")
    if st.toggle("Show the chart", value=True):
        chart()
else:
    app = st.App(__file__, routes=[plotly_js_route()])
