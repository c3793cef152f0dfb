"""Discrete latent variables: every estimate that score-function gradients can give, and how baselines gather them."""

import re
from urllib.parse import urlencode

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Floats
from iwae_lab.figures.marks import COLOURS, TRUTH, Trace, axes, dots, line, vertical
from iwae_lab.lessons.discrete import (
    KS,
    NAMES,
    WITH_WEIGHT,
    Estimates,
    Targets,
    bias,
    estimates,
    targets,
    variances,
)
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick
from ui.live.chart import live_chart
from ui.settings import choice

# The colour tells what is subtracted: nothing, one number, something of each sample's own.
STYLES = {
    "reinforce": (COLOURS[1], "dash"),
    "reinforce_running": (COLOURS[3], "dash"),
    "reinforce_loo": (COLOURS[0], "dash"),
    "reinforce_iwae": (COLOURS[1], "solid"),
    "vimco_arithmetic": (COLOURS[3], "solid"),
    "vimco": (COLOURS[0], "solid"),
    "rws": (COLOURS[2], "dot"),
}
REACH = 1.6  # of the plane shown
TERM = ("kept", "dropped")
SETTINGS = {
    "discrete_estimator": choice("vimco", NAMES, "estimator"),
    "discrete_k": one_of(4, KS, "k"),
    "discrete_term": choice(TERM[0], TERM, "the term −w̃ᵢ sᵢ"),
}
LABORATORY = "./?" + urlencode({"model": "sbn_1", "runs": "vimco,rws", "k": 5, "batch_size": 20})


def plane(found: Estimates, goal: Targets, name: str) -> go.Figure:
    """Every possible estimate, its area its probability; a cross at the exact gradient, a ring at the mean."""
    look = axes("derivative in c₁", "derivative in c₂")
    look["xaxis"] |= {"range": [-REACH, REACH], "zeroline": True}
    look["yaxis"] |= {"range": [-REACH, REACH], "zeroline": True}
    colour = STYLES[name][0]
    climbed = re.sub("_(.)", r"<sub>\1</sub>", ESTIMATORS[name].phi)
    ring = {"symbol": "circle-open", "size": 17, "color": colour, "line": {"width": 3}}
    cross = {"symbol": "cross-thin", "size": 13, "line": {"color": TRUTH, "width": 3}}
    traces = [
        _cloud(found, f"{ESTIMATORS[name].label}: estimates", colour),
        dots(*found.mean[:, None], marker=ring, name="their mean"),
        dots(*goal.of(name)[:, None], marker=cross, name=f"exact gradient of {climbed}"),
    ]
    return go.Figure(traces, look | {"hovermode": "closest"})


def _cloud(found: Estimates, name: str, colour: str) -> Trace:
    size = 70 * np.sqrt(found.prob)
    shown = size > 0.7
    marker = {"color": colour, "size": size[shown].astype(np.float32), "opacity": 0.55, "line": {"width": 0}}
    prob = found.prob[shown].astype(np.float32)
    hover = "(%{x:.3f}, %{y:.3f})<br>probability %{customdata:.3g}<extra></extra>"
    return dots(*found.values[shown].T, marker=marker, name=name, customdata=prob, hovertemplate=hover)


def against_k(name: str, k: int) -> go.Figure:
    """The total variance of one estimate against k for every estimator; the chosen one bold."""
    look = axes("k, samples per image", "total variance (log scale)")
    look["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    look["xaxis"] |= {"tickvals": KS, "range": [KS[0] - 0.4, KS[-1] + 0.4]}
    traces = []
    for other in NAMES:
        label, width, hover = ESTIMATORS[other].label, 4.5 if other == name else 1.5, "k = %{x}: %{y:.3g}"
        traces.append(line(KS, variances(other), label, *STYLES[other], width, hovertemplate=hover))
    return go.Figure(traces, look | {"hovermode": "closest", "shapes": [vertical(k, TRUTH)]})


def picture() -> None:
    """The plane of estimates, variances against k, controls, and what both say in numbers."""
    state = st.session_state
    name, k = state["discrete_estimator"], state["discrete_k"]
    dropped = name in WITH_WEIGHT and state["discrete_term"] == TERM[1]
    found, goal = estimates(name, k, dropped), targets(k)
    text = sentence(name, k, dropped)
    cloud, curve = st.columns(2, gap="medium")
    with cloud:
        st.header("Every estimate that k draws can give", anchor=False)
        live_chart(plane(found, goal, name), key="discrete_plane", description=spoken(text), height=420)
    with curve:
        st.header("Its noise as k grows", anchor=False)
        values = ", ".join(f"{ESTIMATORS[n].label} {estimates(n, k).variance:.3g}" for n in NAMES)
        live_chart(
            against_k(name, k), key="discrete_noise", description=f"Total variance at k = {k}: {values}.", height=420
        )
    st.markdown(text)
    _controls(name)
    st.caption(NOTE)


def _controls(name: str) -> None:
    st.segmented_control(
        "estimator", NAMES, key="discrete_estimator", format_func=lambda name: ESTIMATORS[name].label, required=True
    )
    left, right = st.columns(2, gap="large")
    with left:
        pick("discrete_k", SETTINGS, KS)
    right.segmented_control(
        SETTINGS["discrete_term"].label,
        TERM,
        key="discrete_term",
        help=TERM_HELP,
        required=True,
        disabled=name not in WITH_WEIGHT,
    )


def sentence(name: str, k: int, dropped: bool) -> str:
    """Mean, target, bias and noise of one estimator at one k."""
    found, goal = estimates(name, k, dropped), targets(k).of(name)
    off = bias(name, k, dropped)
    climbed = re.sub("(L_.)", r"$\1$", ESTIMATORS[name].phi)
    verdict = "no bias" if off < 1e-9 else f"**off by up to {off:.3f}**"
    return (
        f"{ESTIMATORS[name].label} at k = {k}: mean {_pair(found.mean)}, exact gradient of {climbed} "
        f"{_pair(goal)}: {verdict}. Total variance {found.variance:.3g}; {_outside(found):.0%} of the estimates lie "
        "outside the picture."
    )


def reveal() -> str:
    """What the right-hand figure shows."""
    plain, vimco = variances("reinforce_iwae"), variances("vimco")
    return (
        f"It grows: from {plain[0]:.1f} at k = 2 to {plain[-1]:.0f} at k = {KS[-1]}. Every score is multiplied by the "
        "same bound, about −2.4 nats, however little its own sample did for it, and k such terms are added. Subtract "
        f"what the other samples already explain, and it falls from {vimco[0]:.2f} to {vimco[-1]:.3f}: that is VIMCO."
    )


def _pair(values: Floats) -> str:
    return f"({minus(float(values[0]))}, {minus(float(values[1]))})"


def _outside(found: Estimates) -> float:
    return float(found.prob[(np.abs(found.values) > REACH).any(1)].sum())


TERM_HELP = (
    "Differentiating the bound with the samples held fixed leaves a term −w̃ᵢ sᵢ from log q inside the weights. Scores "
    "average to zero, but w̃ᵢ times a score does not: without it the estimator climbs something else. Only the "
    "estimators of $L_k$ have it."
)
NOTE = (
    "A sigmoid belief network with two binary latent variables and three pixels. An estimate depends only on how often "
    "each of the four states was drawn, so every possible one is shown, its area its probability, and all numbers are "
    "exact sums. Shown are the derivatives in c₁ and c₂, the biases of q’s logits; the variance is summed over all "
    "eight parameters of q."
)
LESSON = Lesson(
    slug="discrete",
    title="Discrete latent variables",
    idea=(
        "A binary h cannot be moved a little, so there is no derivative through the {draws}. What remains is the "
        "score, $s_i = \\nabla_\\phi \\log q(h_i \\mid x)$, times how well the sample did. That is unbiased and noisy; "
        "all art lies in what to subtract."
    ),
    question="REINFORCE for $L_k$ multiplies every score by the whole bound. As k grows, its noise…",
    answers=("falls like 1/k", "stays the same", "grows"),
    right=2,
    reveal=reveal,
    notice=(
        "REINFORCE scatters far beyond the picture: the cross is where it is on average, seldom where it is.",
        "A baseline moves no mean: with *LOO* or *VIMCO* the ring stays on the cross and the cloud shrinks around it.",
        "VIMCO judges each sample by what it adds to the others, and gets better as k grows.",
        "Drop −w̃ᵢ sᵢ and the ring leaves the cross: a common mistake, and one that no training curve will tell you.",
        "Reweighted wake-sleep climbs something else, −KL(p ‖ q), with a bias that fades like 1/k. It needs no "
        "baseline.",
    ),
    equation=r"\nabla_\phi L_k = E \sum_{i=1}^k \bigl(\hat L_k - b_i - \tilde w_i\bigr)\, s_i",
    code=tuple(ESTIMATORS[name].surrogate for name in ("reinforce_iwae", "vimco", "rws")),
    sources=(
        "Williams 1992; Paisley et al. 2012; Mnih & Gregor 2014; Mnih & Rezende 2016 (VIMCO); Bornschein & Bengio 2015 "
        "(RWS); Kool et al. 2019 (LOO). "
        f"[Train a sigmoid belief network on MNIST]({LABORATORY}) by VIMCO and RWS in the laboratory"
    ),
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
