"""The guided tour and the presets: each shows one thing, the tour after asking what the reader expects."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.shipped.recording import recording
from iwae_lab.words.glossary import say
from iwae_lab.words.numbers import plus_minus
from ui.controls import leave, train
from ui.settings import EXPERIMENT, choose


class Stop(NamedTuple):
    """A step of the tour: what is shown, what is asked, which answer is right, and what the numbers say."""

    title: str
    question: str
    answers: tuple[str, ...]
    right: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    reveal: Callable[[History], str]
    live: bool = False


def _number(history: History, name: str, k: int, run: int | None = None) -> str:
    ks = np.array(history.spec.eval_ks if history.spec else (1,))
    reading = read_at(history, View(k=int(ks[np.abs(ks - k).argmin()])))
    if reading is None:
        return "not known yet"
    value = getattr(reading, name)
    return plus_minus(value if run is None else value[run], sign=name not in ("iwae", "elbo"))


def _overtaken(history: History) -> str:
    leads = [float((s.iwae[-1, -1] - s.iwae[0, -1]).mean()) for s in history.snapshots]
    first = next((i for i in range(len(leads)) if min(leads[i:]) > 0), None)
    if history.spec is None or first is None:
        return "In this experiment it never does."
    step = history.snapshots[first].step
    epochs = step * history.spec.batch_size / 60_000
    return (
        f"It is behind until step {step:,}, after {epochs:.1f} epochs, and ahead from then on. "
        "A young model gains most from a q whose every draw is useful; what $L_k$ asks pays later. Replay it with the "
        "slider."
    )


RECORDED = {"plot": "bounds", "at": -1, "view_k": 50, "recorded": "long"}
TOUR = (
    Stop(
        "The proof",
        "Take one trained VAE twice. One copy goes on with the average of the logs of 50 {draws}, the other with the "
        "log of their average: same images, same noise, same cost. After some seconds, which models the digits better?",
        ("The one with the average of logs", "The one with the log of the average", "They stay alike"),
        1,
        RECORDED | {"recorded": "proof", "at": 0, "view_k": 1000},
        {**{name: setting.default for name, setting in EXPERIMENT.items()}, "view_k": 1000, "at": -1},
        lambda history: (
            "The second, the IWAE: the number above is its lead, and says since when it is certain. Its dashed line, "
            "the ELBO, falls at the same time. The next questions ask why."
        ),
        live=True,
    ),
    Stop(
        "Same draws, two formulas",
        "The dashed line is the average of k logs, for the VAE in blue. You see it at k = 50. What happens to its "
        "height if you take 5000 {draws} instead?",
        ("It rises", "It stays", "It falls"),
        1,
        RECORDED,
        {"view_k": 5000},
        lambda history: (
            f"It stays at {_number(history, 'elbo', 5000, 0)}. More {{draws}} make a less noisy estimate of the same "
            "number, $L_1$. Nothing about that number gets better."
        ),
    ),
    Stop(
        "The log of the average",
        "The solid line takes the log after averaging the same weights. From k = 50 to 5000 it",
        ("rises", "stays", "falls"),
        0,
        RECORDED,
        {"view_k": 5000},
        lambda history: (
            f"It rises, from {_number(history, 'iwae', 50, 0)} to {_number(history, 'iwae', 5000, 0)} for the VAE's "
            "model: another, larger number, on its way to the {evidence}. Jensen's penalty is paid for the noise "
            "inside the log, and averaging inside reduces it."
        ),
    ),
    Stop(
        "The noise of one estimate",
        "One k-sample estimate for one image is noisy. As k grows, where do the two formulas end up?",
        (
            "Both get less noisy around the same value",
            "Both get less noisy; only the ELBO stays where it is",
            "Only L_k gets less noisy",
        ),
        1,
        RECORDED,
        {"plot": "spread"},
        lambda history: (
            "Both bands narrow. The ELBO's narrows around a line that stays put: it is a better measurement of the "
            "same thing. The other narrows while it climbs."
        ),
    ),
    Stop(
        "Two models, at k = 1",
        "Orange is a model trained on $L_{50}$ instead. Judge both by their ELBO, at the left end. Which is higher?",
        ("The VAE's", "The IWAE's", "They are equal"),
        0,
        RECORDED,
        {"view_k": 1},
        lambda history: (
            f"The VAE's: IWAE minus VAE is {_number(history, 'elbo_lead', 1)} nats. The ELBO asks that every draw of q "
            "explain the digit; training on $L_{50}$ asks for one good draw in fifty, so q spreads out."
        ),
    ),
    Stop(
        "Two models, near the truth",
        "At k = 5000 both solid lines are close to each model's own log p(x). Which model is better?",
        ("The VAE", "The IWAE", "They cannot be told apart"),
        1,
        RECORDED | {"view_k": 1},
        {"view_k": 5000, "plot": "difference"},
        lambda history: (
            f"The IWAE, by {_number(history, 'iwae_lead', 5000)} nats a digit, although at small k it looks worse. The "
            "difference is paired, so its error bar is far smaller than the bands."
        ),
    ),
    Stop(
        "When does it pay?",
        "The scrubber under the plot goes back in time. When does the IWAE overtake the VAE at the right end?",
        ("From the first step", "After some epochs", "Only at the end"),
        1,
        RECORDED | {"view_k": 5000},
        {"view_k": 5000, "plot": "difference"},
        _overtaken,
    ),
    Stop(
        "And with k = 1?",
        "Now train both objectives yourself with k = 1. How far apart will the two models be after 300 steps?",
        ("Not at all", "A little", "As far as with k = 50"),
        0,
        RECORDED,
        {"k": 1, "runs": "vae,iwae", "steps": 300, "view_k": 1, "plot": "bounds"},
        lambda history: (
            "Not at all: the log of an average of one is the average of one log. Same seed, same minibatches, same "
            "noise: the same numbers to the last digit. All difference comes from k > 1. Try the presets next."
        ),
        live=True,
    ),
)


def tour() -> None:
    """The card of the tour, if it is on."""
    state, number = st.session_state, st.session_state["tour"]
    if not number:
        return
    stop, dialect = TOUR[number - 1], st.session_state["words"]
    revealed = state.get("revealed") == number
    with st.container(border=True):
        st.markdown(f"**{number} of {len(TOUR)}. {stop.title}.** {say(stop.question, dialect)}")
        guess = st.radio("Your prediction", stop.answers, index=None, horizontal=True, key=f"guess_{number}")
        if revealed:
            right = stop.answers[stop.right]
            verdict = "" if guess is None else "Right. " if guess == right else f"You said “{guess}”. "
            st.success(verdict + say(stop.reveal(recording("long")), dialect), icon=":material/lightbulb:")
        with st.container(horizontal=True):
            label = "Train and see" if stop.live else "Show me"
            disabled = guess is None or revealed
            st.button(label, type="primary", disabled=disabled, on_click=_reveal, args=(number,))
            if number > 1:
                st.button("Back", on_click=go, args=(number - 1,))
            if number < len(TOUR):
                st.button("Next", on_click=go, args=(number + 1,))
            st.button("Leave the tour", type="tertiary", on_click=go, args=(0,))


def go(number: int) -> None:
    """To a step of the tour; 0 leaves it."""
    choose(tour=number, preset=-1)
    st.session_state["revealed"] = 0
    if number:
        leave()
        choose(**TOUR[number - 1].before)


def _reveal(number: int) -> None:
    st.session_state["revealed"] = number
    choose(**TOUR[number - 1].after)
    if TOUR[number - 1].live:
        train()
