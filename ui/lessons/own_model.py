"""A model of the reader's own, put together from a menu: its posterior, q, weights, and bounds against k."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.black_box import draw
from iwae_core.estimators import ESTIMATORS, UnsupportedError
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, L_K, TRUTH, axes, decades, dots, faint, filled, line, sizes, vertical
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
    Weighted,
    answers,
    fit,
    weighted_draws,
)
from iwae_lab.words.numbers import minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick, slider
from ui.live.chart import live_chart
from ui.settings import choice, number

TRAINING_KS = tuple(k for k in CURVE_KS if k <= 50)
Q, KEPT, DRAWS = COLOURS[0], COLOURS[2], COLOURS[1]
MENUS = {"own_prior": PRIORS, "own_link": LINKS, "own_noise": NOISES, "own_q": FAMILIES}
SETTINGS = {
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


def densities(found: Answers, seen: Weighted, k: int) -> go.Figure:
    """The posterior, q, what resampling one of k draws keeps, and one set of draws sized by their weights."""
    look = axes("h", "density")
    top = 1.08 * max(found.posterior.max(), found.q.max(), found.resampled.max())
    look["yaxis"] |= {"range": [-0.12 * top, top]}
    look["xaxis"] |= {"range": [-4, 4]}
    marker = {"color": faint(DRAWS, 0.6), "line": {"color": DRAWS, "width": 1}, "size": sizes(seen.weights, 25)}
    hover = "h = %{x:.2f}, normalised weight %{customdata:.3f}<extra></extra>"
    drawn = {"name": f"{k} draws, area: weight", "customdata": seen.weights.astype(np.float32), "hovertemplate": hover}
    traces = [
        filled(line(found.h, found.posterior, "posterior", TRUTH), 0.25),
        line(found.h, found.q, "q", Q),
        line(found.h, found.resampled, f"one kept of {k}", KEPT),
        dots(seen.h, np.full(len(seen.h), -0.06 * top), marker=marker, **drawn),
    ]
    return go.Figure(traces, look | {"hovermode": "closest"})


def bounds(found: Answers, k: int) -> go.Figure:
    """L_k and the ELBO of this q against k, below log p(x)."""
    look = axes("k, samples (log scale)", "nats")
    look["xaxis"] |= decades(CURVE_KS[-1])
    ends = np.array([CURVE_KS[0], CURVE_KS[-1]])
    traces = [
        line(ends, np.full(2, found.log_evidence), "log p(x)", TRUTH, "dot"),
        line(CURVE_KS, found.bound, L_K, Q),
        line(ends, np.full(2, found.bound[0]), "ELBO", Q, "dash"),
    ]
    shown = [trace | {"hovertemplate": "%{y:.3f}"} for trace in traces]
    return go.Figure(shown, look | {"shapes": [vertical(k, TRUTH)]})


def picture() -> None:
    """Controls, both figures, and their numbers."""
    state = st.session_state
    for column, name in zip(st.columns(4), MENUS, strict=True):
        column.selectbox(SETTINGS[name].label, tuple(MENUS[name]), key=name)
    first, second, third = st.columns(3, gap="medium")
    with first:
        slider("own_x", SETTINGS, 0.1)
        slider("own_scale", SETTINGS, 0.05)
    with second:
        label = SETTINGS["own_estimator"].label
        st.selectbox(label, NAMES, key="own_estimator", format_func=lambda name: ESTIMATORS[name].label)
        pick("own_k", SETTINGS, TRAINING_KS)
    with third:
        slider("own_steps", SETTINGS, 5)
        st.button("Other draws", icon=":material/casino:", on_click=_other_draws)
    choices, k = chosen(), state["own_k"]
    phi, problem = fitted(choices, state["own_estimator"], k, state["own_steps"])
    if problem:
        st.warning(f"q is shown as it was before fitting: {problem}.", icon=":material/block:")
    found, seen = answers(choices, phi, k), weighted_draws(choices, phi, k, state["own_seed"])
    text = sentence(found, seen, k)
    st.markdown(text)
    spoken = text.replace(f"$L_{{{k}}}$", f"L_{k}")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Posterior and q", anchor=False)
        live_chart(densities(found, seen, k), key="own_densities", description=f"Densities of h. {spoken}", height=380)
    with right:
        st.subheader("Bounds of this q", anchor=False)
        live_chart(bounds(found, k), key="own_bounds", description=f"Bounds against k. {spoken}", height=380)


def chosen() -> Choices:
    """The model and the family of q that the settings ask for."""
    state = st.session_state
    names = {name: state[f"own_{name}"] for name in ("prior", "link", "noise", "q")}
    return Choices(**names, scale=float(state["own_scale"]), x=float(state["own_x"]))


def fitted(choices: Choices, estimator: str, k: int, steps: int) -> tuple[tuple[float, ...], str]:
    """The parameters of q after so many steps, or those at the start and why it cannot be fitted like this."""
    try:
        return tuple(map(float, fit(choices, estimator, k)[steps])), ""
    except UnsupportedError as error:
        return FAMILIES[choices.q].start, str(error)


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
        "The model below has x around h², so its {posterior} has two modes, and q is one normal. Fit q once by the "
        "ELBO (VAE, k = 1) and once by $L_{10}$ (IWAE, k = 10). Where does q end?"
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
