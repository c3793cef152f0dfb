"""The first screen: the question, its answer in one line, and the picture that shows it; below it, the laboratory."""

from importlib import import_module

import streamlit as st

from iwae_lab.shipped.opening import opening
from iwae_lab.words.glossary import Dialect, say
from iwae_lab.words.opening import ANSWER, TITLE, opening_words
from ui.live.opening import opening_picture
from ui.navigation import first_look
from ui.pages.gate import Gate

# Python goes from one thread that computes to the next every 5 ms. Among a hundred that draw, the event loop, which
# sends what they draw and tells the server's health, would wait half a second for each of its turns.
GATE = Gate(2)


def show() -> None:
    """Draw the first screen, then the laboratory below it, for which the first visitor of a server waits."""
    _first_screen()
    laboratory = import_module("ui.pages.laboratory")
    with GATE.turn():
        laboratory.show()


def _first_screen() -> None:
    """Once an experiment is on the page, its charts take the place of the picture."""
    if first_look("projector"):
        return
    dialect = first_look("words", Dialect.STATISTICS)
    with st.container():  # one place, whatever it holds: what follows is not mounted anew
        st.title(TITLE, anchor=False)
        if not first_look("run"):
            st.markdown(say(ANSWER, dialect))
            opening_picture(opening(), opening_words(dialect), key="opening")
