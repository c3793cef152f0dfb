"""The first screen: the question, its answer in one line, and the picture that shows it; below it, the laboratory."""

from importlib import import_module

import streamlit as st

from iwae_lab.shipped.opening import opening
from iwae_lab.words.glossary import Dialect, say
from iwae_lab.words.opening import ANSWER, TITLE, opening_words
from ui.live.opening import opening_picture


def show() -> None:
    """Draw the first screen, then the laboratory below it, for which the first visitor of a server waits."""
    _first_screen()
    import_module("ui.pages.laboratory").show()


def _first_screen() -> None:
    """Once an experiment is on the page, its charts take the place of the picture."""
    state, asked = st.session_state, st.query_params
    if state.get("projector", asked.get("projector")):
        return
    dialect = state.get("words") or asked.get("words", Dialect.STATISTICS)
    with st.container():  # one place, whatever it holds: what follows is not mounted anew
        st.title(TITLE, anchor=False)
        if not (asked.get("run") or state.get("run")):
            st.markdown(say(ANSWER, dialect))
            opening_picture(opening(), opening_words(dialect), key="opening")
