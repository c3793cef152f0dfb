"""In front of a class: one chart as large as the screen, a code to follow it by, and a poll of predictions."""

from functools import partial

import segno
import streamlit as st
from markupsafe import Markup

from iwae_lab.history.labels import labels
from iwae_lab.words import sentences as words
from iwae_lab.words.opening import TITLE
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
HEIGHT = "calc(100vh - 9.8rem)"  # what headline and scrubber leave
# All of Streamlit's sizes are multiples of the root's; the smallest here is 0.85 of it. Everything is on one screen.
STYLE = """<style>
@media (min-width: 900px) { html { font-size: 24px } } /* a phone is no projector */
header, [data-testid="stSidebar"] { display: none !important }
.stMainBlockContainer { max-width: none; padding: 0.7rem 1.2rem !important }
.stMainBlockContainer [data-testid="stVerticalBlock"] { gap: 0.5rem }
.live-html { font-size: 0.9rem !important }
.live-html p { margin-bottom: 0.2rem }
.st-key-headline { min-height: 5.3rem }
@media (max-width: 700px) { .st-key-headline { min-height: 7rem } }
.live-html progress + .quiet { display: none }
.live-html :is(.quiet, .unsure), [data-testid="stCaptionContainer"] { color: inherit !important; opacity: 1 !important }
.scrubber, .scrubber button { font-size: 0.9rem !important }
h1.unseen { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px }
.st-key-aside { max-height: calc(100vh - 1.4rem); overflow-y: auto }
.st-key-aside > * { flex-shrink: 0 }
</style>"""
HERE_ALONE = "localhost", "127.0.0.1", "[::1]"


def project(look: partial[Look], experiment: str | None, plot: str) -> None:
    """Draw the page for a projector; what it shows is what the laboratory shows."""
    st.html(f'{STYLE}<style>.st-key-bounds {{ min-height: {HEIGHT} }}</style><h1 class="unseen">{TITLE}</h1>')
    chart, aside = st.columns([3, 1], gap="medium")
    with chart:
        live_html(look("headline"), key="headline")
        live_figure(look(plot), key="bounds", height=HEIGHT, text=TEXT)
        scrubber(look("times"), key="time")
    with aside, st.container(key="aside"):
        _aside(look, experiment)


def _aside(look: partial[Look], experiment: str | None) -> None:
    """How to follow, what is asked, and what whoever started the run can do."""
    own = experiment is None or engine().owns(experiment, visitor())
    state = engine().state(experiment) if experiment else None
    asked = polls.told(experiment) if experiment else None
    if experiment:
        live_poll(look("poll"), key="poll", projected=True)
    if experiment and own:
        _ask(experiment)
    _code(watch_link(experiment), 22 if asked else 40)
    live_html(look("status"), key="status", state=state)
    with st.popover("Controls", icon=":material/tune:"):
        if own:
            with st.container(horizontal=True, gap="small"):
                buttons(experiment, state, refused="")
        if experiment is None:
            st.caption(words.POLL_NEEDS_RUN)
        st.button(words.LEAVE_PROJECTOR, icon=":material/close:", on_click=choose, kwargs={"projector": ""})


def _code(link: str, height: int) -> None:
    """The link as a QR code, dark on white on any ground, so many hundredths of the screen high; and as text."""
    drawn = segno.make(link, error="m").svg_data_uri(scale=4, border=4, light="#fff")
    picture = '<img alt="QR code of the link below" style="display:block;height:{}vh;max-width:100%" src="{}">'
    st.html(Markup(picture).format(height, drawn))
    st.caption(words.HERE_ALONE if any(f"//{name}" in link for name in HERE_ALONE) else link.partition("?")[0])


def _ask(experiment: str) -> None:
    """What whoever started the run may ask the class."""
    if polls.is_open(experiment):
        st.button("Show the counts", type="primary", on_click=polls.close, args=(experiment,))
        return
    if polls.told(experiment):
        st.button("Put the poll away", on_click=polls.put_away, args=(experiment,))
    spec = engine().spec(experiment)
    asked = predictions(labels(spec, engine().history(experiment).swaps), spec.eval_ks[-1])
    with st.popover("Ask the class", icon=":material/how_to_vote:"):
        for index, prediction in enumerate(asked):
            st.button(prediction.question, key=f"ask_{index}", on_click=polls.ask, args=(experiment, *prediction))
