"""Links for others, and files to take home."""

from collections.abc import Iterable
from urllib.parse import urlencode, urljoin

import streamlit as st

from iwae_lab.arguments import command
from iwae_lab.history.history import History
from iwae_lab.shipped.recording import recording
from iwae_lab.take_home.recipe import snippet
from iwae_lab.take_home.report import report
from iwae_lab.take_home.table import csv_text
from iwae_lab.words import sentences as words
from iwae_lab.words.glossary import Dialect
from ui.live.watch import watch_url
from ui.session import engine, show_experiment, shown_experiment
from ui.settings import ALL, choose
from ui.visitor import visitor

OWN = 10  # runs listed
LINKS = {
    "These settings, and what is shown": ("", False),
    "This run, to watch; settings hidden": ("settings", True),
    "This run, to watch; all controls hidden": ("controls", True),
}
WATCHED = ("plot", "view_k", "x", "words", "recorded")  # settings that the page of those who only watch knows


def share(experiment: str | None) -> None:
    """Three menus below the page: links, files, and the visitor's own runs."""
    mine = engine().experiments(visitor())[:OWN]
    with st.container(horizontal=True):
        if mine:
            menu = st.popover("Your runs", icon=":material/history:", key="own_runs", on_change="rerun")
            for own in mine if menu.open else ():  # their logs, which tell of swaps, are read for those who look
                described = words.describe(engine().spec(own), engine().history(own).swaps)
                text = f"{engine().state(own).capitalize()}: {described}"
                menu.button(text, key=f"open_{own}", type="tertiary", on_click=_open, args=(own,))
        with st.popover("Share", icon=":material/share:"):
            for label, (hide, with_run) in LINKS.items():
                if experiment or not with_run:
                    st.caption(label)
                    st.code(_link(experiment if with_run else None, hide), language=None)
            st.caption(words.WATCH_LINK)
            st.code(watch_link(experiment), language=None)
        st.button(words.PROJECT, icon=":material/connected_tv:", on_click=choose, kwargs={"projector": "on"})
        with st.popover("Take home", icon=":material/download:"):
            _files(experiment)


def _open(experiment: str) -> None:
    show_experiment(experiment)
    choose(at=-1)


def _link(experiment: str | None, hide: str) -> str:
    left_out = {"run", "projector"} | ({"preset"} if shown_experiment() and not experiment else set())
    return _address(_base(), [name for name in ALL if name not in left_out], experiment, hide)


def watch_link(experiment: str | None) -> str:
    """The address of the page of those who only watch, as this reader's browser would call it."""
    return _address(urljoin(_base(), watch_url()), WATCHED, experiment)


def _base() -> str:
    return (st.context.url or "").split("?")[0]


def _address(base: str, names: Iterable[str], experiment: str | None, hide: str = "") -> str:
    values = {name: str(st.session_state[name]) for name in names if st.session_state[name] != ALL[name].default}
    values |= {"run": experiment} if experiment else {}
    values |= {"hide": hide} if hide else {}
    query = urlencode(values)
    return f"{base}?{query}" if query else base


def _files(experiment: str | None) -> None:
    spec = engine().spec(experiment) if experiment else recording(st.session_state["recorded"]).spec
    if spec is None:
        return

    def history() -> History:  # read when the button is pressed
        return engine().history(experiment) if experiment else recording(st.session_state["recorded"])

    name = f"iwae-{experiment[:8]}" if experiment else "iwae-recorded"
    dialect = Dialect(st.session_state["words"])
    files = {
        "Every number (CSV)": (lambda: csv_text(history()), "csv", "text/csv"),
        "Specification (JSON)": (lambda: spec.to_json(indent=2) + "\n", "json", "application/json"),
        "Python that repeats it": (lambda: snippet(spec), "py", "text/x-python"),
        "Command that repeats it": (lambda: command(spec) + "\n", "sh", "text/plain"),
        "The whole experiment (one HTML file)": (lambda: report(history(), dialect), "html", "text/html"),
    }
    for label, (make, suffix, mime) in files.items():
        st.download_button(label, make, f"{name}.{suffix}", mime, on_click="ignore", key=f"file_{suffix}")
    st.caption("Each chart's own buttons save it as PNG or SVG.")
