"""A model of the reader's own, from menus or as a function: its posterior, q, weights, and bounds against k."""

import numpy as np
import streamlit as st

from iwae_core.black_box import draw
from iwae_core.estimators import ESTIMATORS, UnsupportedError
from iwae_core.training.fields import Limits
from iwae_lab.lessons.coded import EXAMPLE, LONGEST, CodeError
from iwae_lab.lessons.own_model import (
    CURVE_KS,
    FAMILIES,
    LINKS,
    NAMES,
    NOISES,
    PRIORS,
    STEPS,
    Answers,
    Choices,
    Coded,
    Weighted,
    answers,
    fit,
    weighted_draws,
)
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import minus
from iwae_lab.words.sentences import refusal
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick, slider
from ui.lessons.own_model_figure import bounds, densities
from ui.live.chart import live_chart
from ui.markdown import plain
from ui.server.settings import server_settings
from ui.settings import choice, number

TRAINING_KS = tuple(k for k in CURVE_KS if k <= 50)
SOURCES = ("menus", "code")
CODE_LABEL = "log p(x, h) as Python: torch, math and all of torch.distributions are there; h is a tensor of numbers"
NO_CODE = (
    "On this server the model comes from menus: whoever may run Python on a machine may read and change whatever is on "
    "it. Started by `iwae demo` on a machine of your own, this page takes a function of yours as well."
)
MENUS = {"own_prior": PRIORS, "own_link": LINKS, "own_noise": NOISES, "own_q": FAMILIES}
SETTINGS = {
    "own_source": choice(SOURCES[0], SOURCES, "where the model comes from"),
    "own_prior": choice("normal", tuple(PRIORS), "prior of h"),
    "own_link": choice("h²", tuple(LINKS), "x is around"),
    "own_noise": choice("normal", tuple(NOISES), "with noise"),
    "own_q": choice("normal", tuple(FAMILIES), "family of q"),
    "own_scale": number(0.5, Limits(0.4, 1.5, "scale of the noise")),
    "own_x": number(2.0, Limits(-4.0, 4.0, "observed x")),
    "own_estimator": choice("iwae", NAMES, "q fitted by"),
    "own_k": one_of(10, TRAINING_KS, "k, samples"),
    "own_steps": number(STEPS, Limits(0, STEPS, "steps of fitting")),
    "own_seed": number(0, Limits(0, 9999, "set of draws")),
}


def picture() -> None:
    """Both figures, their numbers, and controls."""
    try:
        _figures(chosen())
    except CodeError as error:
        st.error(plain(f"Your model cannot be used: {error}."), icon=":material/block:")
    _controls()


def _figures(choices: Choices) -> None:
    state, k = st.session_state, st.session_state["own_k"]
    phi, problem = fitted(choices, state["own_estimator"], k, state["own_steps"])
    if problem:
        st.warning(f"q is shown as it was before fitting: {problem}.", icon=":material/block:")
    found, seen = answers(choices, phi, k), weighted_draws(choices, phi, k, state["own_seed"])
    text = sentence(found, seen, k)
    heard = spoken(text)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.header("Posterior and q", anchor=False)
        live_chart(densities(found, seen, k), key="own_densities", description=f"Densities of h. {heard}", height=340)
    with right:
        st.header("Bounds of this q", anchor=False)
        live_chart(bounds(found, k), key="own_bounds", description=f"Bounds against k. {heard}", height=340)
    st.markdown(text)


def _controls() -> None:
    by_code = model_by_code()
    first, second, third = st.columns(3, gap="medium")
    with first:
        slider("own_x", SETTINGS, 0.1)
        if not by_code:
            slider("own_scale", SETTINGS, 0.05)
    with second:
        label = SETTINGS["own_estimator"].label
        st.selectbox(label, NAMES, key="own_estimator", format_func=lambda name: ESTIMATORS[name].label)
        pick("own_k", SETTINGS, TRAINING_KS)
    with third:
        slider("own_steps", SETTINGS, 5)
        st.button("Other draws", icon=":material/casino:", on_click=_other_draws)


def model_by_code() -> bool:
    """The model's parts in menus, or as a function if this server takes that; whether it is a function."""
    state, menus = st.session_state, dict(MENUS)
    if server_settings().code:
        st.segmented_control("the model, from", SOURCES, key="own_source", required=True)
    else:
        st.caption(NO_CODE)
    by_code = takes_code()
    if by_code:
        menus = {"own_q": menus["own_q"]}
        # What a link brings is never run: the code is in no address, and runs once this reader asks for it.
        st.text_area(CODE_LABEL, state.get("own_code", EXAMPLE), height=160, key="own_written", max_chars=LONGEST)
        st.button("Use this model", type="primary", on_click=_use)
    for column, name in zip(st.columns(len(menus)), menus, strict=True):
        column.selectbox(SETTINGS[name].label, tuple(menus[name]), key=name)
    return by_code


def _use() -> None:
    st.session_state["own_code"] = st.session_state["own_written"]


def takes_code() -> bool:
    """Whether the model is the reader's own function."""
    return server_settings().code and st.session_state["own_source"] == SOURCES[1]


def chosen() -> Choices:
    """The model and the family of q that the settings ask for."""
    state = st.session_state
    x, q = float(state["own_x"]), state["own_q"]
    if takes_code():
        return Coded(x=x, q=q, code=state.get("own_code", EXAMPLE))
    names = {name: state[f"own_{name}"] for name in ("prior", "link", "noise")}
    return Choices(**names, scale=float(state["own_scale"]), x=x, q=q)


def fitted(choices: Choices, estimator: str, k: int, steps: int) -> tuple[tuple[float, ...], str]:
    """The parameters of q after so many steps, or those at the start and why it cannot be fitted like this."""
    try:
        return tuple(map(float, fit(choices, estimator, k)[steps])), ""
    except UnsupportedError as error:
        return FAMILIES[choices.q].start, refusal(error)


def sentence(found: Answers, seen: Weighted, k: int) -> str:
    """The numbers of the page."""
    bound = found.bound[CURVE_KS.index(k)]
    return (
        f"log p(x) = {minus(found.log_evidence)}. With this q the ELBO is {minus(found.bound[0])} and $L_{{{k}}}$ is "
        f"{minus(bound)} nats, {found.log_evidence - bound:.3f} below. These {k} draws count for {seen.effective:.1f}."
    )


def reveal() -> str:
    """Where q ends in the model shown first, by either bound."""
    elbo, tight = (fit(Choices(), name, k)[-1] for name, k in (("vae", 1), ("iwae", 10)))
    narrow, wide = (answers(Choices(), tuple(map(float, phi)), 10) for phi in (elbo, tight))
    return (
        f"Fitted by the ELBO, q is N({minus(elbo[0], 2)}, {np.exp(elbo[1]):.2f}²): one mode. By $L_{{10}}$ it is "
        f"N({minus(tight[0], 2)}, {np.exp(tight[1]):.2f}²), over both: its ELBO is {minus(wide.bound[0], 1)} instead "
        f"of {minus(narrow.bound[0], 1)}, yet its $L_{{1000}}$ is {wide.log_evidence - wide.bound[-1]:.3f} nats from "
        f"log p(x), the other's still {narrow.log_evidence - narrow.bound[-1]:.2f}, about log 2: half the posterior is "
        "never drawn."
    )


def _other_draws() -> None:
    st.session_state["own_seed"] = (st.session_state["own_seed"] + 1) % 10_000


LESSON = Lesson(
    slug="own_model",
    title="Your own model",
    idea=(
        "Nothing here is special to digits or networks. Put a model of one hidden h together; the same estimators fit "
        "q through $\\log p(x, h)$ and $\\log q(h)$ alone, and with one dimension every answer is known exactly."
    ),
    question=(
        "The model shown first has x around h², so its {posterior} has two modes, and q is one normal. Fit q once by "
        "the ELBO (VAE, k = 1) and once by $L_{10}$ (IWAE, k = 10). Where does q end?"
    ),
    answers=("On one mode both times", "ELBO: on one mode; L₁₀: over both", "Over both modes both times"),
    right=1,
    reveal=reveal,
    notice=(
        "q need not look like the {posterior}. Green is what is left after one of k {draws} is kept by its weight, and "
        "that is what $L_k$ fits.",
        "Move *steps of fitting* to see q travel; move x below zero and the two modes become one.",
        "Take *two normals* for q: they cannot be reparameterised, so only score-function estimators are left. VIMCO "
        "and RWS still fit them.",
        "Take Student’s t for {prior} and noise, x around h, x = 4, and fit by the VAE. q has lighter tails than the "
        "{posterior}: from k = 10 to 1,000 the gap falls to a quarter instead of a hundredth.",
    ),
    equation=(r"\begin{gathered} \log p(x, h) = \log p(h) + \log p(x \mid h) \\ w = p(x, h) \,/\, q(h) \end{gathered}"),
    code=(Choices.log_joint, fit, draw),
    sources="Burda et al. 2016; Cremer et al. 2017 (what resampling keeps); Ranganath et al. 2014 (black box)",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
