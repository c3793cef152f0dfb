"""The settings of an experiment and the buttons that control one."""

from typing import Any

import streamlit as st

from iwae_core.engines import EngineFullError, State
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.spec import MAX_RUNS, ExperimentSpec, Limits, RunSpec, SpecError, limits
from ui import words
from ui.session import engine

MAX_STEPS = 1_000_000  # the server keeps a row for each in memory; the command line allows more
NUMBERS = ("batch_size", "learning_rate", "steps", "seed")
STEPS = {"learning_rate": 5e-4, "steps": 500, "batch_size": 10}


def settings() -> bool:
    """Inputs for everything the paper varies; whether they can be combined, and the reason on the page if not."""
    default = ExperimentSpec()
    with st.sidebar:
        st.subheader(words.SETTINGS)
        st.multiselect(
            words.TRAINED_BY,
            list(ESTIMATORS),
            [run.estimator for run in default.runs],
            format_func=lambda name: ESTIMATORS[name].label,
            help=words.TRAINED_BY_HELP,
            max_selections=MAX_RUNS,
            key="estimators",
        )
        st.selectbox(words.MODEL, list(MODELS), format_func=lambda name: MODELS[name].label, key="model")
        _number("k", limits(RunSpec)["k"], default.runs[0].k, words.TRAINING_K_HELP)
        allowed = {**limits(ExperimentSpec), "steps": limits(ExperimentSpec)["steps"]._replace(maximum=MAX_STEPS)}
        for name in NUMBERS:
            _number(name, allowed[name], getattr(default, name))
        st.caption(words.SETTINGS_NOTE)
        try:
            return bool(_chosen())
        except SpecError as error:
            st.error(f"These settings cannot be trained: {error}.")
            return False


def _chosen() -> ExperimentSpec:
    """The experiment that the inputs show now."""
    state = st.session_state
    runs = tuple(RunSpec(name, state["k"], state["model"]) for name in state["estimators"])
    return ExperimentSpec(runs, **{name: state[name] for name in NUMBERS})


def _number(name: str, limit: Limits, default: Any, text: str | None = None) -> None:
    kind = type(default)
    st.number_input(
        limit.label,
        kind(limit.minimum),
        kind(limit.maximum),
        default,
        kind(STEPS.get(name, 1)),
        format="%g" if kind is float else "%d",
        help=text,
        key=name,
    )


def buttons(run_id: str | None, state: State | None, trainable: bool) -> None:
    """Train, Pause or Resume, Stop: each enabled when it would do something."""
    active = state is not None and state.active
    paused = state is State.PAUSED
    with st.container(horizontal=True):
        st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            disabled=active or not trainable,
            on_click=_train,
        )
        label, icon = ("Resume", ":material/resume:") if paused else ("Pause", ":material/pause:")
        command = "resume" if paused else "pause"
        st.button(label, icon=icon, disabled=not active, on_click=engine().send, args=(run_id, command), key="pause")
        st.button("Stop", icon=":material/stop:", disabled=not active, on_click=engine().send, args=(run_id, "stop"))
        if run_id and not active:
            st.button("Show the recorded experiment", type="tertiary", on_click=st.query_params.clear)


def _train() -> None:
    # What the inputs show when the button is pressed, which may be newer than the last complete run of this script.
    run_id = st.query_params.get("run")
    if run_id and engine().state(run_id).active:
        return  # the second half of a double click
    try:
        st.query_params["run"] = engine().submit(_chosen())
    except (EngineFullError, SpecError) as error:
        st.error(f"Not started: {error}.")
    except OSError as error:
        st.error(f"Not started: runs cannot be kept here ({error.strerror}); set IWAE_RUNS_DIR to a folder with space.")
