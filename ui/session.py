"""What all visitors share: the engine that trains, and the recorded experiment everybody sees first."""

import threading
from functools import cache

import streamlit as st

from iwae_lab.engines import Engine, UnknownExperimentError, chosen_backend, open_engine
from iwae_lab.records.place import runs_folder
from ui.markdown import plain

_lock = threading.Lock()


def engine() -> Engine:
    """The one engine of this server, on the folder `runs_folder` says."""
    with _lock:  # two visitors may come first
        return _engine()


@cache
def _engine() -> Engine:
    return open_engine(chosen_backend(), runs_folder())


def find_again() -> None:
    """Take over what goes on on a cluster from a server before this one, without waiting for a visitor."""
    if chosen_backend() == "cluster":
        engine()


def opened() -> Engine | None:
    """The engine, if anybody has needed it yet."""
    return _engine() if _engine.cache_info().currsize else None


def trouble() -> str:
    """Why the engine can start nothing at present; empty if it can, or if nobody has needed it yet."""
    found = opened()
    return found.trouble() if found else ""


def save_all() -> None:
    """Have every run saved and every worker ended, if there is an engine at all; what is known of runs can be asked."""
    if found := opened():
        found.close()


def close_engine() -> None:
    """End every worker, if there is an engine at all."""
    with _lock:
        if _engine.cache_info().currsize:
            _engine().close()
            _engine.cache_clear()


def show_experiment(experiment: str | None) -> None:
    """Make this the experiment on the page, None being the recording; remembered while another page is looked at."""
    st.session_state["run"] = experiment or ""


def shown_experiment() -> str | None:
    """The experiment on the page, if there is one."""
    return st.session_state.get("run") or None


def current_experiment() -> str | None:
    """The experiment on the page, if there is one; a stale link is reported and dropped."""
    experiment = shown_experiment()
    try:
        if experiment:
            engine().spec(experiment)
    except UnknownExperimentError as error:
        st.warning(plain(f"{error}. Showing the recorded experiment instead."))
        experiment = None
    show_experiment(experiment)
    return experiment
