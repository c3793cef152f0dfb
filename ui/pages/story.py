"""The answer in five sentences: each asks first, and the last one is proved by an experiment of one's own."""

import streamlit as st

from iwae_lab.shipped.recording import recording
from iwae_lab.words import story as words
from ui.controls import alone, leave, train
from ui.live.parts import lead_of
from ui.live.scene import Look
from ui.live.story import story
from ui.session import current_experiment
from ui.settings import EXPERIMENT, VIEW, choose, remember, restore

TABLE = EXPERIMENT | {name: VIEW[name] for name in ("words", "run")}


def show() -> None:
    """Draw the page."""
    restore(TABLE)
    st.title(words.TITLE, anchor=False)
    st.markdown(words.IDEA)
    dialect, history = st.session_state["words"], recording("long")
    data = {
        "acts": [act._asdict() for act in words.told(history, dialect)],
        "curves": words.curves(history)._asdict(),
        "recorded": lead_of(recording("proof")),
        "words": words.labels(history),
    }
    experiment = current_experiment()
    if experiment and experiment != st.session_state.get("proof"):
        experiment = None  # another one, from the laboratory
    story(data, Look("proof", experiment) if experiment else None, key="story", on_train=_prove)
    remember(TABLE)


@alone()
def _prove() -> None:
    """Train what the page's settings are by default, whatever they are now."""
    leave()
    choose(**{name: setting.default for name, setting in EXPERIMENT.items()})
    train()
    st.session_state["proof"] = st.session_state["run"]
