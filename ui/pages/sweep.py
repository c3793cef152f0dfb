"""The second sense of "as k varies": train with each k, and compare the models, as the paper's Table 1 does."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from iwae_lab.engines import UnknownExperimentError
from iwae_lab.engines.protocol import Stop
from iwae_lab.figures import against_training_k, reproduced, reproduced_summary, sweep_summary
from iwae_lab.history.sweep import MAX_MEMBERS, members
from iwae_lab.paper.cells import Cell
from iwae_lab.paper.results import Result, read
from iwae_lab.shipped.models import shipped
from iwae_lab.words import sentences as words
from ui.controls import alone, goes_on, told, words_switch
from ui.live.chart import live_chart
from ui.live.components import live_figure, live_html
from ui.live.drawer import drawer
from ui.live.scene import Look, swept
from ui.markdown import plain
from ui.panel import settings
from ui.session import engine
from ui.settings import EXPERIMENT, VIEW, Setting, choose, chosen, remember, restore
from ui.visitor import network, visitor

CHOICES = (1, 2, 5, 10, 20, 50, 100)
SEEDS = (1, 2, 4, 8, 16, 28)


def _parse(text: str) -> str:
    ks = text.split(",")
    if not all(k.isascii() and k.isdigit() and int(k) in CHOICES for k in ks):
        raise ValueError(f"a comma list from {', '.join(map(str, CHOICES))}")
    return text


def _seeds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) in SEEDS):
        raise ValueError(f"one of {', '.join(map(str, SEEDS))}")
    return int(text)


OWN = {"ks": Setting("1,5,50", _parse), "seeds": Setting(1, _seeds), "sweep": Setting("", str)}
TABLE = EXPERIMENT | {"words": VIEW["words"]} | OWN


def show() -> None:
    """Draw the page."""
    refused = restore(TABLE)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(words.SWEEP_TITLE, anchor=False)
        words_switch()
    st.markdown(words.say(words.SWEEP_IDEA, st.session_state["words"]))
    for text in refused:
        st.warning(plain(f"{text}. The default is used instead."))
    impossible = settings(without_k=True)
    state = st.session_state
    state["training_ks"] = [int(k) for k in state["ks"].split(",")]
    with st.container(horizontal=True):
        st.segmented_control(words.SWEEP_KS, CHOICES, selection_mode="multi", key="training_ks", on_change=_collect)
        st.segmented_control(words.SWEEP_SEEDS, SEEDS, key="seeds", required=True)
    impossible = impossible or _too_many(len(state["training_ks"]) * state["seeds"])
    ids = _known(state["sweep"])
    active = any(engine().state(experiment).active for experiment in ids)
    with st.container(horizontal=True):
        icon = ":material/play_arrow:"
        disabled = active or bool(impossible)
        st.button("Train the sweep", type="primary", icon=icon, disabled=disabled, on_click=_train)
        st.button("Stop all", icon=":material/stop:", disabled=not active, on_click=_stop, args=(ids,))
        drawer(words.SETTINGS_BUTTON, key="drawer")
    if impossible:
        st.warning(plain(impossible), icon=":material/block:")
    if ids:
        look = Look("sweep", state["sweep"], words=str(state["words"]))
        live_figure(look, key="sweep", height=420)
        members = replace(look, part="members")
        live_html(members, key="members", state="running" if active else "ended")
    elif recorded := shipped():
        st.markdown(words.SWEEP_RECORDED.format(steps=f"{recorded[0].step:,}"))
        live_chart(against_training_k(recorded), key="recorded_sweep", description=sweep_summary(recorded))
        if results := read():
            _paper(results)
    remember(TABLE)


def _paper(results: Mapping[Cell, Result]) -> None:
    """The cells of the paper's tables, and ours as far as they have been run."""
    st.header(words.PAPER_HEADING, anchor=False)
    st.markdown(words.PAPER_NOTE)
    live_chart(reproduced(results), key="paper", description=reproduced_summary(results), height=420)


def _collect() -> None:
    if st.session_state["training_ks"]:  # the last one cannot be taken away
        st.session_state["ks"] = ",".join(map(str, sorted(st.session_state["training_ks"])))


def _too_many(count: int) -> str:
    """Why so many members cannot be had here, if so."""
    allowed = min(MAX_MEMBERS, engine().limits.per_visitor)
    return "" if count <= allowed else words.SWEEP_TOO_LARGE.format(count=count, allowed=allowed)


def _known(text: str) -> list[str]:
    """The runs of the address that exist here."""
    found = []
    for experiment in swept(text):
        try:
            engine().spec(experiment)
            found.append(experiment)
        except UnknownExperimentError as error:
            st.warning(plain(f"{error}."))
    return found


@alone()
def _train() -> None:
    with told("Not started"):
        if any(map(goes_on, swept(st.session_state["sweep"]))):
            return  # the second half of a double click
    with told("Not started"):
        ks = [int(k) for k in st.session_state["ks"].split(",")]
        specs, who = members(chosen(), ks, st.session_state["seeds"]), (visitor(), network())
        started = [engine().submit(spec, *who) for spec in specs]
        engine().gather(started)
        choose(sweep=started[0])


def _stop(ids: list[str]) -> None:
    with told("Not stopped"):
        for experiment in ids:
            engine().send(experiment, Stop(), owner=visitor())
