"""The buttons that start and control an experiment."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.training.fields import SpecError, limits
from iwae_core.training.spec import RunSpec
from iwae_lab.engines import EngineFullError, NotOwnerError, State, UnknownExperimentError
from iwae_lab.engines.protocol import Command, Pause, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.log import LogError
from iwae_lab.words import sentences as words
from ui.markdown import plain
from ui.panel import collect, estimator_label
from ui.session import engine, show_experiment, shown_experiment
from ui.settings import choose, chosen
from ui.visitor import network, visitor


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
_starting = threading.RLock()


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
        key = f"swap_{experiment}"
        run = st.selectbox(
            "run to swap",
            range(len(runs)),
            format_func=lambda index: runs[index],
            index=len(runs) - 1,
            key=f"{key}_run",
        )
        st.selectbox("from now on trained by", list(ESTIMATORS), format_func=estimator_label, key=f"{key}_estimator")
        allowed = limits(RunSpec)["k"]
        st.number_input("with k", int(allowed.minimum), int(allowed.maximum), spec.runs[run].k, key=f"{key}_k_{run}")
        st.button("Swap now", type="primary", on_click=_swap_now, args=(experiment,))


def _swap_now(experiment: str) -> None:
    """What the inputs show when the button is pressed, which may be newer than the last run of this script."""
    state, key = st.session_state, f"swap_{experiment}"
    run, estimator = state[f"{key}_run"], state[f"{key}_estimator"]
    with told("Not swapped"):
        shown_first = engine().spec(experiment).runs[run].k  # of a run chosen this moment: its k was not asked for yet
        k = state.get(f"{key}_k_{run}", shown_first)
        engine().send(experiment, SwapNow(run, estimator, k), owner=visitor())
        st.toast(f"Run {run + 1} goes on with {estimator_label(estimator)}, k = {k}.")


@contextmanager
def alone() -> Iterator[None]:
    """One start at a time: the script of a second click may begin while the first one's, told to end, still starts."""
    with _starting:
        yield


@alone()
def _train_shown() -> None:
    collect()  # what the inputs show when the button is pressed, which may be newer than the last run of this script
    train()


def train() -> None:
    """Start the experiment that the settings ask for, in place of the one on the page."""
    with told("Not started"):
        if goes_on(shown_experiment()):
            return  # the second half of a double click
    with told("Not started"):
        show_experiment(engine().submit(chosen(), visitor(), network()))
        choose(at=-1)


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
        engine().recover(experiment, visitor(), network())


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
