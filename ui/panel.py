"""The panel with the settings of an experiment."""

from typing import Any, cast

import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.training.fields import Limits, SpecError, limits
from iwae_core.training.memory import memory_mb, require_memory
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.spec import MAX_RUNS, SETTINGS, RunSpec
from iwae_core.training.starts import RANDOM, STARTS
from iwae_lab.words import sentences as words
from ui.markdown import plain
from ui.session import engine
from ui.settings import EXPERIMENT, OWN, choose, chosen, fit_start, from_scratch, parse_runs, runs_text

STEPS = {"learning_rate": 5e-5, "steps": 500, "batch_size": 10}
MAIN = ("batch_size", "learning_rate", "steps", "seed")
MORE = ("seconds", "patience", "eval_images", "eval_k")


def settings(without_k: bool = False) -> str:
    """Inputs for everything the paper varies; why they cannot be combined, nothing if they can."""
    with st.sidebar:
        st.header(words.SETTINGS)
        _runs()
        if not without_k:
            _input("k", words.TRAINING_K_HELP)
        models = list(MODELS)
        st.selectbox(words.MODEL, models, format_func=lambda name: MODELS[name].label, key="model", on_change=fit_start)
        st.selectbox(words.START, list(STARTS), format_func=_start_label, key="start", on_change=_started)
        for name in MAIN:
            _input(name)
        with st.expander("More settings"):
            schedules = list(SCHEDULES)
            label = EXPERIMENT["schedule"].label
            st.selectbox(label, schedules, format_func=lambda name: SCHEDULES[name].label, key="schedule")
            label = EXPERIMENT["backward"].label
            names = list(BACKWARDS)
            st.selectbox(
                label, names, format_func=lambda name: BACKWARDS[name].label, key="backward", help=words.BACKWARD_HELP
            )
            for name in (name for name in MORE if name in EXPERIMENT):
                _input(name)
        if swaps := st.session_state["swaps"]:
            st.caption(f"Planned swap (run:step:estimator:k, runs counted from 0): {plain(swaps)}")
            st.button("No swap", on_click=choose, kwargs={"swaps": ""}, type="tertiary")
        st.caption(words.say(words.SETTINGS_NOTE, st.session_state["words"]))
        try:
            spec = chosen()
            require_memory(spec, engine().limits.memory_mb)
            st.caption(f"Needs about {memory_mb(spec):,.0f} MB of memory while it trains.")
            return ""
        except SpecError as error:
            return f"These settings cannot be trained: {words.refusal(error)}."


def _start_label(name: str) -> str:
    return STARTS[name].label


def _started() -> None:
    """What goes on from trained weights takes small steps, on their network; random weights take large ones."""
    start = st.session_state["start"]
    if start == RANDOM:
        choose(**from_scratch())
    else:
        choose(**{name: EXPERIMENT[name].default for name in from_scratch()} | {"start": start})
        choose(model=STARTS[start].model)


def _input(name: str, text: str | None = None) -> None:
    setting = EXPERIMENT[name]
    allowed = cast(Limits, setting.limits)
    kind: Any = type(allowed.minimum)
    value: Any = None if setting.default is None else "min"
    st.number_input(
        allowed.label,
        kind(allowed.minimum),
        kind(allowed.maximum),
        value,
        kind(STEPS.get(name, 1)),
        format="%g" if kind is float else "%d",
        help=text,
        placeholder="no limit" if setting.default is None else None,
        key=name,
    )


def _runs() -> None:
    """A row for each run: its estimator, its own k if it has one, and what else that estimator can be told."""
    state, runs = st.session_state, parse_runs(st.session_state["runs"])
    for index, run in enumerate(runs):
        takes = [name for name in SETTINGS if name in ESTIMATORS[run["estimator"]].settings]
        for name in ("estimator", *OWN):
            state[f"run_{index}_{name}"] = run.get(name)
        label, names = f"run {index + 1}, {words.TRAINED_BY}", list(ESTIMATORS)
        left, middle, right = st.columns([6, 3, 1], gap="small", vertical_alignment="bottom")
        left.selectbox(label, names, format_func=estimator_label, key=f"run_{index}_estimator", on_change=collect)
        with middle:
            for name in ("k", *takes):
                _own(index, name)
        if len(runs) > 1:
            text = f"Remove run {index + 1}"
            right.button("✕", key=f"remove_{index}", help=text, on_click=_remove, args=(index,), type="tertiary")
    if len(runs) < MAX_RUNS:
        st.button("Add a run", icon=":material/add:", on_click=_add, type="tertiary")


def estimator_label(name: str) -> str:
    """An estimator's name for people."""
    return ESTIMATORS[name].label


def _own(index: int, name: str) -> None:
    allowed = limits(RunSpec)[name]
    kind: Any = type(allowed.minimum)
    st.number_input(
        "own k" if name == "k" else name,
        allowed.minimum,
        kind(allowed.maximum),
        None,
        kind(1 if kind is int else 0.1),
        format="%d" if kind is int else "%g",
        placeholder="same" if name == "k" else "default",
        key=f"run_{index}_{name}",
        on_change=collect,
    )


def collect() -> None:
    """What the rows show, into the one setting that holds all runs."""
    state, runs = st.session_state, []
    for index in range(len(parse_runs(state["runs"]))):
        estimator = state[f"run_{index}_estimator"]
        takes = {"k", *ESTIMATORS[estimator].settings}
        own = {name: state.get(f"run_{index}_{name}") for name in OWN if name in takes}
        runs.append({"estimator": estimator, **own})
    choose(runs=runs_text(runs))


def _add() -> None:
    runs = parse_runs(st.session_state["runs"])
    used = {run["estimator"] for run in runs}
    unused = (name for name in ("vae", "iwae", "dreg", "stl", "rws", *ESTIMATORS) if name not in used)
    choose(runs=runs_text([*runs, {"estimator": next(unused)}]))


def _remove(index: int) -> None:
    runs = parse_runs(st.session_state["runs"])
    choose(runs=runs_text(runs[:index] + runs[index + 1 :]))
