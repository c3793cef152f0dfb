"""In front of a class: one chart as large as the screen, a code to follow it by, and a poll of predictions."""

from functools import partial

import segno
import streamlit as st
from markupsafe import Markup

from iwae_lab.history.labels import labels
from iwae_lab.words import sentences as words
from iwae_lab.words.predictions import predictions
from ui.controls import buttons
from ui.live import polls
from ui.live.components import live_figure, live_html, live_poll, scrubber
from ui.live.scene import Look
from ui.pages.share import watch_link
from ui.session import engine
from ui.settings import choose
from ui.visitor import visitor

TEXT = 22  # pixels
# All of Streamlit's sizes are multiples of the root's; its smallest is 0.85 of it.
STYLE = """<style>
html { font-size: 24px }
header, [data-testid="stSidebar"] { display: none !important }
.stMainBlockContainer { max-width: none; padding: 1rem 1.5rem !important }
.live-html .quiet, .live-html .headline .unsure, [data-testid="stCaptionContainer"] { color: inherit !important;
  opacity: 1 !important }
.scrubber, .scrubber button, .live-html { font-size: 0.9rem !important }
</style>"""
HERE_ALONE = "localhost", "127.0.0.1", "[::1]"


def project(look: partial[Look], experiment: str | None, plot: str) -> None:
    """Draw the page for a projector; what it shows is what the laboratory shows."""
    state = engine().state(experiment) if experiment else None
    st.html(STYLE)
    live_html(look("headline"), key="headline")
    chart, aside = st.columns([3, 1], gap="medium")
    with chart:
        live_figure(look(plot), key="bounds", height="calc(100vh - 15rem)", text=TEXT)
        scrubber(look("times"), key="time")
    with aside:
        _code(watch_link(experiment))
        if experiment:
            live_poll(look("poll"), key="poll", projected=True)
            if engine().owns(experiment, visitor()):
                _ask(experiment)
        else:
            st.caption(words.POLL_NEEDS_RUN)
    own = experiment is None or engine().owns(experiment, visitor())
    foot, leave = st.columns([3, 1], gap="medium", vertical_alignment="bottom")
    with foot:
        live_html(look("status"), key="status", state=state)
        if own:
            buttons(experiment, state, trainable=True)
    leave.button(words.LEAVE_PROJECTOR, icon=":material/close:", on_click=choose, kwargs={"projector": ""})


def _code(link: str) -> None:
    """The link as a QR code, dark on white on any ground, and as text."""
    drawn = segno.make(link, error="m").svg_data_uri(scale=4, border=4, light="#fff")
    picture = '<img alt="QR code of the link below" style="display:block;max-height:45vh;width:100%" src="{}">'
    st.html(Markup(picture).format(drawn))
    st.caption(link.partition("?")[0])
    if any(f"//{name}" in link for name in HERE_ALONE):
        st.warning(words.HERE_ALONE)


def _ask(experiment: str) -> None:
    """What whoever started the run may ask the class."""
    if polls.is_open(experiment):
        st.button("Show the counts", type="primary", on_click=polls.close, args=(experiment,))
        return
    spec = engine().spec(experiment)
    asked = predictions(labels(spec, engine().history(experiment).swaps), spec.eval_ks[-1])
    number = st.selectbox("Ask the class", range(len(asked)), format_func=lambda index: asked[index].question)
    st.button("Ask", on_click=polls.ask, args=(experiment, *asked[number]))
