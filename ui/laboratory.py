"""The main page: train VAE against IWAE, live, and compare both bounds of each model as k varies."""

import base64
from html import escape
from typing import cast

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from iwae_core.engines import State
from iwae_core.events import Failed
from iwae_core.figures import COLOURS, View, bounds_against_k, digit_sheet, read_at, training_curves
from iwae_core.history import History
from iwae_core.spec import ExperimentSpec
from ui import words
from ui.controls import buttons, settings
from ui.live_chart import live_chart
from ui.session import current_run, engine, recording

UPDATE_SECONDS = 0.5
STYLE = """<style>
.stMainBlockContainer { padding-top: 3.5rem }
.stMainBlockContainer table { font-size: 0.875rem; font-variant-numeric: tabular-nums }
.stMainBlockContainer table { display: block; width: fit-content; max-width: 100%; overflow-x: auto }
.stMainBlockContainer :is(th, td) { padding: 0.3rem 0.45rem; white-space: nowrap }
</style>"""


def show() -> None:
    """Draw the page; while an experiment runs, its live part redraws itself."""
    st.html(STYLE)
    st.title(words.TITLE, anchor=False)
    question, equations = st.columns([3, 2], gap="medium", vertical_alignment="center")
    question.markdown(words.QUESTION)
    equations.latex(words.EQUATIONS)
    trainable = settings()
    run_id = current_run()
    state = engine().state(run_id) if run_id else None
    buttons(run_id, state, trainable)
    live = st.fragment(_live, run_every=UPDATE_SECONDS if state is not None and state.active else None)
    live(run_id, state)


def _live(run_id: str | None, drawn: State | None) -> None:
    """Everything that changes while training. `drawn` is the state the buttons above were drawn for."""
    state = engine().state(run_id) if run_id else None
    history = engine().history(run_id) if run_id else recording()
    # A recording begins with its specification; a run has one before its first event.
    spec = engine().spec(run_id) if run_id else cast(ExperimentSpec, history.spec)
    with st.container():  # one place whatever it holds: charts further down would be mounted anew if it moved them
        _status(history, spec, state)
    wide, narrow = st.columns([3, 2], gap="medium")
    with wide:
        _bounds(history, spec)
    with narrow:
        st.subheader(words.CURVES_HEADING, anchor=False)
        live_chart(training_curves(history), key="curves", description=words.curves_summary(history), height=320)
        st.caption(words.CURVES_NOTE)
        _digits(history)
    if state != drawn:
        st.rerun()


def _status(history: History, spec: ExperimentSpec, state: State | None) -> None:
    if state is None:
        st.caption(f":material/history: **{words.RECORDED}**: {words.describe(spec)}")
    elif state is State.INTERRUPTED:
        st.warning(words.INTERRUPTED)
    elif isinstance(history.outcome, Failed):
        st.error(f"Training failed at step {history.outcome.step:,}: {history.outcome.message}.")
    else:
        text = f"{state.capitalize()}: step {history.step:,} of {spec.steps:,}"
        if state is State.RUNNING:
            text += f" · {words.time_left(history)}"
        st.progress(history.step / spec.steps, text)
        st.caption(words.describe(spec))


def _bounds(history: History, spec: ExperimentSpec) -> None:
    st.subheader(words.PLOT_HEADING, anchor=False)
    ks = spec.eval_ks
    chart = st.container()
    k = st.select_slider(words.VIEW_K, ks, ks[-1], help=words.VIEW_K_HELP, key=f"view_k_{ks[-1]}")
    reading = read_at(history, k)
    with chart:
        live_chart(
            bounds_against_k(history, View(k)), key="bounds", description=words.chart_summary(reading), height=460
        )
    if reading is None:
        st.caption(words.NO_EVALUATION)
        return
    st.markdown(words.readout(reading))
    st.caption(words.PRECISION)
    for finding in words.findings(reading):
        st.markdown(finding)


def _digits(history: History) -> None:
    """Digits drawn by each model from the prior, and held-out digits beside each model's reconstruction."""
    if history.spec is None or history.originals is None or not history.snapshots:
        return
    snapshot, runs = history.snapshots[-1], history.spec.runs
    st.subheader(words.DIGITS_HEADING, anchor=False)
    rows = [_row("held-out digits", history.originals, "currentColor")]
    for what, digits in ("reconstructed", snapshot.reconstructions), ("sampled from the prior", snapshot.samples):
        rows += [_row(f"{run.label}: {what}", *row) for run, *row in zip(runs, digits, COLOURS, strict=False)]
    st.html("".join(rows))


def _row(caption: str, digits: NDArray[np.uint8], colour: str) -> str:
    png = base64.b64encode(digit_sheet(digits)).decode()
    return (
        f'<figure style="margin:0 0 .6rem"><figcaption style="font-size:.85rem;border-left:.3rem solid {colour};'
        f'padding-left:.4rem;margin-bottom:.2rem">{escape(caption)}</figcaption>'
        f'<img src="data:image/png;base64,{png}" alt="{escape(caption)}" style="width:100%;image-rendering:pixelated">'
        "</figure>"
    )
