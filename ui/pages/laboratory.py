"""The main page: train VAE against IWAE, live, and compare both bounds of each model as k varies."""

from functools import partial

import streamlit as st

from iwae_lab.engines import State
from iwae_lab.figures import FIGURES
from iwae_lab.shipped.recording import LABELS, recording
from iwae_lab.words import sentences as words
from ui.controls import buttons, settings
from ui.live.components import live_figure, live_html, live_poll, scrubber
from ui.live.scene import Look
from ui.markdown import plain
from ui.pages.presets import presets, remark
from ui.pages.projector import project
from ui.pages.share import share
from ui.pages.tour import go, tour
from ui.session import current_experiment, engine
from ui.settings import PANELS, PLOTS, choose, remember, restore
from ui.visitor import visitor


def show() -> None:
    """Draw the page. What changes while a run goes on comes over the web socket, not by drawing the page again."""
    refused = restore()
    if st.session_state["projector"]:
        experiment = current_experiment()
        project(partial(_look, experiment), experiment, st.session_state["plot"])
        remember()
        return
    # In one place, whatever it holds: the charts further down would be mounted anew if it moved them.
    with st.container():
        _title()
        for text in refused:
            st.warning(plain(f"{text}. The default is used instead."))
        hidden = st.session_state["hide"]
        trainable = settings() if not hidden else False
        experiment = current_experiment()
        state = engine().state(experiment) if experiment else None
        tour()
        if experiment:
            live_poll(_look(experiment, "poll"), key="poll")
        live_html(_look(experiment, "headline"), key="headline")
        _controls(experiment, state, trainable)
    # Without controls nothing depends on the state, and a class needs no hundred script runs when it changes.
    live_html(_look(experiment, "status"), key="status", state=None if hidden == "controls" else state)
    _view(experiment)
    _question()
    if hidden != "controls":
        share(experiment)
    remember()


def _controls(experiment: str | None, state: State | None, trainable: bool) -> None:
    hidden = st.session_state["hide"]
    if experiment and state and state.active and not engine().owns(experiment, visitor()):
        st.info(words.READ_ONLY, icon=":material/visibility:")
    elif hidden != "controls":
        buttons(experiment, state, trainable)
    if not experiment and not hidden:
        names = list(LABELS)
        st.segmented_control(
            words.WHICH_RECORDED,
            names,
            format_func=LABELS.__getitem__,
            key="recorded",
            required=True,
            on_change=choose,
            kwargs={"at": -1},
            label_visibility="collapsed",
        )
    remark()


def _title() -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(words.TITLE, anchor=False)
        if not st.session_state["tour"]:
            st.button("Tour", icon=":material/explore:", help=words.TOUR_HELP, on_click=go, args=(1,))
        options = list(words.Dialect)
        label, text = words.WHOSE_WORDS, words.WHOSE_WORDS_HELP
        st.selectbox(
            label, options, format_func=str.capitalize, key="words", help=text, width=150, label_visibility="collapsed"
        )


def _question() -> None:
    """What is compared, and what else to try."""
    if st.session_state["tour"]:
        return  # the tour asks its own questions
    if not st.session_state["hide"]:
        presets()
    dialect = st.session_state["words"]
    question, equations = st.columns([3, 2], gap="medium", vertical_alignment="center")
    question.markdown(words.say(words.QUESTION, dialect))
    equations.latex(words.EQUATIONS)


def _look(experiment: str | None, part: str) -> Look:
    state = st.session_state
    shown = (state["view_k"], state["at"], state["x"], state["digit"], str(state["words"]), state["recorded"])
    return Look(part, experiment or "", *shown)


@st.fragment
def _view(experiment: str | None) -> None:
    """Everything that shows the run. Its controls start no work: they only look at the same numbers another way."""
    spec = engine().spec(experiment) if experiment else recording(st.session_state["recorded"]).spec
    look = partial(_look, experiment)
    wide, narrow = st.columns([3, 2], gap="medium")
    with wide:
        _against_k(look, spec.eval_ks)  # type: ignore[union-attr]
    with narrow:
        st.subheader(words.CURVES_HEADING, anchor=False)
        live_figure(look("curves"), key="curves", height=300)
        axes = ["steps", "samples", "seconds"]
        st.segmented_control("axis of the training curves", axes, key="x", required=True, label_visibility="collapsed")
        _panel(look)
    remember()


def _against_k(look: partial[Look], ks: tuple[int, ...]) -> None:
    state = st.session_state
    st.subheader(FIGURES[state["plot"]].label, anchor=False)
    live_figure(look(state["plot"]), key="bounds", height=380)
    st.segmented_control(
        "plot",
        list(PLOTS),
        format_func=PLOTS.__getitem__,
        key="plot",
        required=True,
        label_visibility="collapsed",
    )
    st.caption(words.say(FIGURES[state["plot"]].caption, state["words"]))
    state["view_k"] = min(ks, key=lambda k: abs(k - state["view_k"]))
    st.select_slider(words.VIEW_K, ks, help=words.VIEW_K_HELP, key="view_k")
    scrubber(look("times"), key="time")
    live_html(look("reading"), key="reading")


def _panel(look: partial[Look]) -> None:
    state = st.session_state
    label = "what the models learned"
    st.subheader(words.PANEL_HEADING, anchor=False)
    st.segmented_control(
        label, list(PANELS), format_func=PANELS.__getitem__, key="panel", required=True, label_visibility="collapsed"
    )
    panel = state["panel"]
    if panel == "digits":
        live_html(look("digits"), key="digits")
        return
    if panel in ("weights", "plane"):
        st.segmented_control("digit", range(10), format_func=lambda index: f"{index + 1}", key="digit", required=True)
    if panel == "closeup":
        live_html(look("story"), key="story")
    live_figure(look(panel), key=panel, height=360)
    st.caption(words.say(FIGURES[panel].caption, state["words"]))
