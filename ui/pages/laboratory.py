"""The main page: train VAE against IWAE, live, and compare both bounds of each model as k varies."""

from functools import partial

import streamlit as st

from iwae_core.evaluation.plane import named_plane
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import State
from iwae_lab.figures import FIGURES
from iwae_lab.figures.plane import NO_PLANE
from iwae_lab.shipped.recording import recording
from iwae_lab.words import sentences as words
from ui.controls import buttons, words_switch
from ui.live.components import live_figure, live_html, live_poll, scrubber
from ui.live.drawer import drawer
from ui.live.flow import flow
from ui.live.scene import Look
from ui.markdown import plain
from ui.pages import story_page
from ui.pages.presets import presets, remark
from ui.pages.projector import project
from ui.pages.share import share
from ui.panel import settings
from ui.session import current_experiment, engine
from ui.settings import PANELS, PLOTS, remember, restore
from ui.visitor import visitor


def show() -> None:
    """Draw the page. What changes while a run goes on comes over the web socket, not by drawing the page again."""
    unknown = restore()
    if st.session_state["projector"]:
        experiment = current_experiment()
        project(partial(_look, experiment), experiment, st.session_state["plot"])
        remember()
        return
    # In one place, whatever it holds: the charts further down would be mounted anew if it moved them.
    with st.container():
        for text in unknown:
            st.warning(plain(f"{text}. The default is used instead."))
        hidden = st.session_state["hide"]
        refused = settings() if not hidden else words.SETTINGS_HIDDEN
        experiment = current_experiment()
        state = engine().state(experiment) if experiment else None
        if experiment:
            live_poll(_look(experiment, "poll"), key="poll")
        live_html(_look(experiment, "headline"), key="headline")
        _controls(experiment, state, refused)
    # Without controls nothing depends on the state, and a class needs no hundred script runs when it changes.
    live_html(_look(experiment, "status"), key="status", state=None if hidden == "controls" else state)
    _view(experiment)
    _question(experiment)
    if hidden != "controls":
        share(experiment)
    remember()


def _controls(experiment: str | None, state: State | None, refused: str) -> None:
    hidden = st.session_state["hide"]
    watching = bool(experiment and state and state.active and not engine().owns(experiment, visitor()))
    if watching:
        st.info(words.READ_ONLY, icon=":material/visibility:")
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="commands"):
        if not watching and hidden != "controls":
            buttons(experiment, state, refused)
        if not hidden:
            if not (state and state.active):
                presets()
            drawer(words.SETTINGS_BUTTON, key="drawer")
            if not experiment:
                st.page_link(story_page(), label=words.STORY, icon=":material/auto_stories:", width="content")
        if not experiment:
            words_switch()
    if refused and not watching and hidden != "controls" and not (state and state.active):
        st.warning(plain(refused), icon=":material/block:")
    remark()


def _question(experiment: str | None) -> None:
    """What is compared, in whose words; over an experiment there is no place for the choice of those."""
    if experiment:
        words_switch()
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
        _beside(look)
        _panel(look, spec)  # type: ignore[arg-type]
    remember()


def _against_k(look: partial[Look], ks: tuple[int, ...]) -> None:
    state = st.session_state
    st.header(FIGURES[state["plot"]].label, anchor=False)
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


def _beside(look: partial[Look]) -> None:
    beside, label = st.session_state["beside"], "beside the plot"
    st.header(words.BESIDE[beside], anchor=False)
    with st.container():  # one place, whatever it holds
        if beside == "step":
            flow(look("flow"), key="flow")
        else:
            live_figure(look("curves"), key="curves", height=300)
    with st.container(horizontal=True, gap="small"):
        st.segmented_control(
            label,
            list(words.BESIDE),
            format_func=words.BESIDE.__getitem__,
            key="beside",
            required=True,
            label_visibility="collapsed",
        )
        if beside == "curves":
            axes, label = ["steps", "samples", "seconds"], "axis of the training curves"
            st.segmented_control(label, axes, key="x", required=True, label_visibility="collapsed")


def _panel(look: partial[Look], spec: ExperimentSpec) -> None:
    state = st.session_state
    label = "what the models learned"
    st.header(words.PANEL_HEADING, anchor=False)
    st.segmented_control(
        label, list(PANELS), format_func=PANELS.__getitem__, key="panel", required=True, label_visibility="collapsed"
    )
    panel = state["panel"]
    if panel == "digits":
        live_html(look("digits"), key="digits")
        return
    if panel == "plane" and not any(named_plane(run.model) for run in spec.runs):
        st.markdown(NO_PLANE)
        return
    if panel in ("weights", "plane"):
        with st.container(horizontal=True, vertical_alignment="center"):
            live_html(look("digit"), key="digit_shown")
            label = "held-out image shown"
            st.pills(label, range(10), format_func=lambda index: f"{index + 1}", key="digit", required=True, wrap=True)
    live_figure(look(panel), key=panel, height=360)
    st.caption(words.say(FIGURES[panel].caption, state["words"]))
