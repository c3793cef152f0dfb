"""The settings of an experiment and the buttons that control one."""

from typing import Any

import streamlit as st

from iwae_core.engines import EngineFullError, State
from iwae_core.spec import ExperimentSpec, Limits, RunSpec, SpecError, limits
from ui import words
from ui.session import engine

MAX_STEPS = 1_000_000  # the server keeps a row for each in memory; the command line allows more
STEPS = {"learning_rate": 5e-4, "steps": 500, "batch_size": 10}


def settings() -> ExperimentSpec | None:
    """Inputs for everything the paper varies; None, and the reason on the page, if they cannot be combined."""
    default = ExperimentSpec()
    with st.sidebar:
        st.subheader(words.SETTINGS)
        k = _number("k", limits(RunSpec)["k"], default.runs[0].k, words.TRAINING_K_HELP)
        names = ("batch_size", "learning_rate", "steps", "seed")
        allowed = {**limits(ExperimentSpec), "steps": limits(ExperimentSpec)["steps"]._replace(maximum=MAX_STEPS)}
        values = {name: _number(name, allowed[name], getattr(default, name)) for name in names}
        st.caption(words.SETTINGS_NOTE)
        try:
            return ExperimentSpec(runs=tuple(RunSpec(run.estimator, k) for run in default.runs), **values)
        except SpecError as error:
            st.error(f"These settings cannot be trained: {error}.")
            return None


def _number(name: str, limit: Limits, default: Any, text: str | None = None) -> Any:
    kind = type(default)
    return st.number_input(
        limit.label,
        kind(limit.minimum),
        kind(limit.maximum),
        default,
        kind(STEPS.get(name, 1)),
        format="%g" if kind is float else "%d",
        help=text,
        key=name,
    )


def buttons(run_id: str | None, state: State | None, spec: ExperimentSpec | None) -> None:
    """Train, Pause or Resume, Stop: each enabled when it would do something."""
    active = state is not None and state.active
    paused = state is State.PAUSED
    with st.container(horizontal=True):
        st.button(
            "Train",
            type="primary",
            icon=":material/play_arrow:",
            disabled=active or spec is None,
            on_click=_train,
            args=(spec,),
        )
        label, icon = ("Resume", ":material/resume:") if paused else ("Pause", ":material/pause:")
        command = "resume" if paused else "pause"
        st.button(label, icon=icon, disabled=not active, on_click=engine().send, args=(run_id, command), key="pause")
        st.button("Stop", icon=":material/stop:", disabled=not active, on_click=engine().send, args=(run_id, "stop"))
        if run_id and not active:
            st.button("Show the recorded experiment", type="tertiary", on_click=st.query_params.clear)


def _train(spec: ExperimentSpec) -> None:
    run_id = st.query_params.get("run")
    if run_id and engine().state(run_id).active:
        return  # the second half of a double click
    try:
        st.query_params["run"] = engine().submit(spec)
    except EngineFullError as error:
        st.error(f"Not started: {error}.")
    except OSError as error:
        st.error(f"Not started: runs cannot be kept here ({error.strerror}); set IWAE_RUNS_DIR to a folder with space.")
