"""The settings of an experiment and the buttons that control one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, cast

import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.training.fields import Limits, SpecError, limits
from iwae_core.training.memory import memory_mb, require_memory
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.spec import MAX_RUNS, SETTINGS, RunSpec
from iwae_core.training.starts import RANDOM, STARTS
from iwae_lab.engines import EngineFullError, NotOwnerError, State, UnknownExperimentError
from iwae_lab.engines.protocol import Command, Pause, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.log import LogError
from iwae_lab.words import sentences as words
from ui.markdown import plain
from ui.session import engine, show_experiment, shown_experiment
from ui.settings import EXPERIMENT, OWN, choose, chosen, fit_start, from_scratch, parse_runs, runs_text
from ui.visitor import visitor

STEPS = {"learning_rate": 5e-5, "steps": 500, "batch_size": 10}
MAIN = ("batch_size", "learning_rate", "steps", "seed")
MORE = ("seconds", "patience", "eval_images", "eval_k")


class Order(NamedTuple):
    """A button that asks the engine for something."""

    label: str
    command: Command
    icon: str
    help: str | None = None


HOLD = "hold"  # the key of the button that pauses and resumes, which the space bar presses too
PAUSE = Order("Pause", Pause(), ":material/pause:", "The space bar pauses as well.")
RESUME = Order("Resume", Resume(), ":material/resume:", "The space bar resumes as well.")
STEP_HELP = "One training step, then a pause, with a close look at what it did."
STEP = Order("Step", Step(), ":material/skip_next:", STEP_HELP)
SLOW = Order("Slow", Slow(), ":material/slow_motion_video:", "One step every few seconds, each shown part by part.")
FAST = Order("Fast", Resume(), ":material/fast_forward:", "Full speed again.")
STOP = Order("Stop", Stop(), ":material/stop:", "End this run. What it has learned is kept.")


def words_switch() -> None:
    """Whose words the page speaks."""
    st.selectbox(
        words.WHOSE_WORDS,
        list(words.Dialect),
        format_func=str.capitalize,
        key="words",
        help=words.WHOSE_WORDS_HELP,
        width=150,
        label_visibility="collapsed",
    )


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
        left.selectbox(label, names, format_func=_label, key=f"run_{index}_estimator", on_change=_collect)
        with middle:
            for name in ("k", *takes):
                _own(index, name)
        if len(runs) > 1:
            text = f"Remove run {index + 1}"
            right.button("✕", key=f"remove_{index}", help=text, on_click=_remove, args=(index,), type="tertiary")
    if len(runs) < MAX_RUNS:
        st.button("Add a run", icon=":material/add:", on_click=_add, type="tertiary")


def _label(name: str) -> str:
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
        on_change=_collect,
    )


def _collect() -> None:
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


def buttons(experiment: str | None, state: State | None, refused: str) -> None:
    """Train, Pause or Resume, Step, Slow motion, Swap, Reset: each enabled when it would do something.

    Where settings are refused, Train is not.
    """
    active, paused = state is not None and state.active, state is State.PAUSED
    usable = active and state not in (State.STOPPING, State.ELSEWHERE)
    if not active:
        icon = ":material/play_arrow:"
        st.button("Train", type="primary", icon=icon, disabled=bool(refused), on_click=_train_shown, key="go")
    else:
        _button(experiment, RESUME if paused else PAUSE, usable, type="primary", key=HOLD)
        slow = experiment is not None and engine().slow(experiment)
        for order in (STEP, FAST if slow else SLOW, STOP):
            _button(experiment, order, usable)
    if experiment and usable:
        _swap(experiment)
    if experiment and state in (State.INTERRUPTED, State.STOPPED, State.FAILED):
        st.button("Go on", icon=":material/resume:", help=words.GO_ON_HELP, on_click=_recover, args=(experiment,))
    if experiment:
        st.button("Reset", icon=":material/replay:", help=words.RESET_HELP, on_click=leave)


def _button(experiment: str | None, order: Order, usable: bool, **look: Any) -> None:
    """A button that gives an order, if that does something now."""
    label, command, icon, text = order
    st.button(label, icon=icon, help=text, disabled=not usable, on_click=_send, args=(experiment, command), **look)


def _swap(experiment: str) -> None:
    spec = engine().spec(experiment)
    with st.popover("Swap", icon=":material/swap_horiz:", help=words.SWAP_HELP):
        st.caption(words.SWAP_HELP)
        runs = [f"{index + 1}: {run.label}" for index, run in enumerate(spec.runs)]
        run = st.selectbox("run to swap", range(len(runs)), format_func=lambda index: runs[index], index=len(runs) - 1)
        estimator = st.selectbox("from now on trained by", list(ESTIMATORS), format_func=_label)
        allowed = limits(RunSpec)["k"]
        k = st.number_input("with k", int(allowed.minimum), int(allowed.maximum), spec.runs[run].k)
        if st.button("Swap now", type="primary"):
            try:
                engine().send(experiment, SwapNow(run, estimator, k), owner=visitor())
                st.toast(f"Run {run + 1} goes on with {_label(estimator)}, k = {k}.")
            except (SpecError, NotOwnerError) as error:
                st.error(plain(f"Not swapped: {error}."))


def _train_shown() -> None:
    _collect()  # what the inputs show when the button is pressed, which may be newer than the last run of this script
    train()


def train() -> None:
    """Start the experiment that the settings ask for, in place of the one on the page."""
    with told("Not started"):
        if goes_on(shown_experiment()):
            return  # the second half of a double click
    with told("Not started"):
        spec, owner = chosen(), visitor()
        started = once("started", lambda: [engine().submit(spec, owner)])
        show_experiment(started[0])
        choose(at=-1)
        started.clear()


def once(name: str, start: Callable[[], list[str]]) -> list[str]:
    """What was started, to be cleared when it is shown: a script interrupted before that does not start it again.

    A second click interrupts at the next word to Streamlit, and setting a value of the session is one.
    """
    started: list[str] = st.session_state.setdefault(name, [])
    if not started:
        started.extend(start())
    return started


def already_trains() -> bool:
    """Whether the experiment on the page goes on and is the one that the settings ask for."""
    experiment = shown_experiment()
    with suppress(UnknownExperimentError):
        return goes_on(experiment) and engine().spec(str(experiment)) == chosen()
    return False


def goes_on(experiment: str | None) -> bool:
    """Whether it is the visitor's own and not at its end.

    Raises:
        UnknownExperimentError: no such experiment.
    """
    if not experiment:
        return False
    return engine().owns(experiment, visitor()) and engine().state(experiment).active


def _send(experiment: str, command: Command) -> None:
    with told("Not done"):
        engine().send(experiment, command, owner=visitor())
        if isinstance(command, Step | Slow):
            choose(beside="step")


def _recover(experiment: str) -> None:
    with told("Not resumed"):
        engine().recover(experiment, owner=visitor())


def leave() -> None:
    """End the visitor's own run on the page, if it goes on, and show the recorded experiment."""
    experiment = shown_experiment()
    with told("Not stopped"):
        if experiment and engine().owns(experiment, visitor()):
            engine().send(experiment, Stop(), owner=visitor())
    show_experiment(None)
    choose(at=-1)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Errors that a visitor can do something about, as one sentence on the page."""
    try:
        yield
    except (EngineFullError, SpecError, NotOwnerError, UnknownExperimentError, CheckpointError, LogError) as error:
        st.error(plain(f"{what}: {error}."))
    except OSError as error:
        st.error(f"{what}: runs cannot be kept here ({error.strerror}); set IWAE_RUNS_DIR to a folder with space.")
