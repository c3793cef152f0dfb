"""Against the truth: how the gap to a known log p(x) falls with k, where its law holds, and what corrections leave."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.exact.cases import gaussian_mismatch_chi_squared
from iwae_core.exact.law import exact_curve
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, L_K, TRUTH, Trace, axes, decades, filled, line
from iwae_lab.lessons.truth import CURVE_KS, ORDERS, Gaps, delta_method_mean, gaps, jackknife_mean, kl, slope
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import markdown
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick, slider
from ui.live.chart import live_chart
from ui.settings import choice, choose, number

DIMS = (1, 2, 5, 10, 20, 50)
NONE, DELTA, JACKKNIFE = CORRECTIONS = ("none", "delta method", "jackknife")
SETTINGS = {
    "truth_ratio": number(1.5, Limits(0.25, 3.0, "variance of q, posterior = 1")),
    "truth_shift": number(0.5, Limits(0.0, 2.0, "distance of their means")),
    "truth_dims": one_of(10, DIMS, "dimensions"),
    "truth_correct": choice(NONE, CORRECTIONS, "correct the bias"),
}
# The wide q that has the same KL from the posterior as one of half its variance.
NARROW, WIDE = 0.5, 1.7564312086
CASES: dict[str, dict[str, Any]] = {
    "narrow, KL 0.097": {"truth_ratio": 0.5, "truth_shift": 0.0, "truth_dims": 1},
    "wide, KL 0.097": {"truth_ratio": 1.76, "truth_shift": 0.0, "truth_dims": 1},
    "infinite χ²": {"truth_ratio": 0.25, "truth_shift": 0.0, "truth_dims": 1},
    "50 dimensions": {"truth_ratio": 1.5, "truth_shift": 0.0, "truth_dims": 50},
    "perfect q": {"truth_ratio": 1.0, "truth_shift": 0.0, "truth_dims": 1},
}
LOWEST = 1e-6  # nats; nobody cares about less


def figure(found: Gaps, ratio: float, correct: str) -> go.Figure:
    """The gap against k, both logarithmic: dashed for the ELBO, solid for L_k, dotted for the law."""
    blue = COLOURS[0]
    traces = [line(found.ks, np.full(len(found.ks), found.kl), "ELBO", blue, "dash", hovertemplate="%{y:.3g}")]
    traces.append(line(found.ks, found.l_k, L_K, blue, hovertemplate="%{y:.3g}"))
    if np.isfinite(found.chi_squared):
        traces.append(
            line(found.ks, found.chi_squared / (2 * found.ks), "χ²/2k", TRUTH, "dot", hovertemplate="%{y:.3g}")
        )
    else:
        anchored = found.l_k[-1] * (found.ks / found.ks[-1]) ** -slope(ratio)
        traces.append(line(found.ks, anchored, f"slope −{slope(ratio):.2f}", TRUTH, "dot", hovertemplate="%{y:.3g}"))
    if correct == DELTA:
        traces += _corrected(found.ks, found.delta, "delta method", COLOURS[1])
    elif correct == JACKKNIFE:
        for order, bias, colour in zip(ORDERS, found.jackknife, COLOURS[1:], strict=False):
            traces += _corrected(found.ks, bias, f"jackknife {order}", colour)
    look = axes("k, samples (log scale)", "log p(x) − mean of the bound, nats (log scale)")
    shown = np.concatenate([trace["y"] for trace in traces])
    shown = shown[np.isfinite(shown) & (shown > LOWEST)]
    low, high = np.log10([max(shown.min(), LOWEST), min(shown.max(), 100)]) if len(shown) else (-8.0, 0.0)
    look["yaxis"] |= {"type": "log", "dtick": 1, "exponentformat": "power", "range": [low - 0.2, high + 0.2]}
    look["xaxis"] |= decades(CURVE_KS[-1], 0.1) | {"exponentformat": "power"}
    return go.Figure(traces, look)


def _corrected(ks: Any, bias: Any, name: str, colour: str) -> list[Trace]:
    """Solid where the mean is below log p(x), thin where the correction overshoots and it is above."""
    below, above = np.where(bias > 0, bias, np.nan), np.where(bias < 0, -bias, np.nan)
    first = line(ks, below, name, colour, hovertemplate="%{y:.3g} below", legendgroup=name)
    second = line(ks, above, f"{name}, too high", colour, "dot", hovertemplate="%{y:.3g} above", legendgroup=name)
    return [first, second] if np.isfinite(above).any() else [first]


def densities(ratio: float, shift: float) -> go.Figure:
    """The posterior and q along the line through their means."""
    h = np.linspace(-5, 7, 241)
    posterior = np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)
    q = np.exp(-((h - shift) ** 2) / (2 * ratio)) / np.sqrt(2 * np.pi * ratio)
    traces = [
        filled(line(h, posterior, "p(h | x)", TRUTH, hoverinfo="skip"), 0.25),
        line(h, q, "q(h | x)", COLOURS[0], hoverinfo="skip"),
    ]
    look = axes("h on the line of both means", "density")
    look["yaxis"] |= {"rangemode": "tozero", "showticklabels": False}
    return go.Figure(traces, look)


def table(found: Gaps) -> str:
    """What it takes: the gap at some k, and the law's; Markdown."""
    rows = [
        (f"{k:,}", f"{found.kl:.4f}", f"{max(found.at(k), 0.0):.4f}", _law(found.chi_squared / (2 * k)))
        for k in (1, 10, 100, 1000)
    ]
    return markdown(("k", "gap of the ELBO", "gap of $L_k$", "χ²/2k"), rows, left=0)


def sentence(found: Gaps) -> str:
    """How many samples two goals take."""
    counts = [found.needed(goal) for goal in (0.1, 0.01)]
    texts = ["more than a million" if count is None else f"about {count:,}" for count in counts]
    return (
        f"χ² = {_law(found.chi_squared)}. To come within 0.1 nats of log p(x), $L_k$ takes {texts[0]} "
        f"{'sample' if counts[0] == 1 else 'samples'}; within 0.01 nats, {texts[1]}."
    )


def picture() -> None:
    """The gap against k, both densities, the numbers, sliders and cases."""
    state = st.session_state
    found = gaps(state["truth_ratio"], state["truth_shift"], state["truth_dims"])
    wide, narrow = st.columns([3, 2], gap="medium")
    with wide:
        drawing = figure(found, state["truth_ratio"], state["truth_correct"])
        live_chart(
            drawing,
            key="truth_gap",
            description=f"Gap to log p(x) against k. {spoken(sentence(found))}",
            height=400,
        )
        label = SETTINGS["truth_correct"].label
        st.segmented_control(label, CORRECTIONS, key="truth_correct", required=True, help=CORRECTIONS_HELP)
    with narrow:
        ratio, shift = state["truth_ratio"], state["truth_shift"]
        text = f"Densities: q has {ratio:.2f} times the posterior's variance, its mean is {shift:.1f} away."
        live_chart(densities(ratio, shift), key="truth_densities", description=text, height=210)
        st.markdown(table(found))
        st.markdown(sentence(found))
    _controls()


def _controls() -> None:
    for column, draw in zip(st.columns(3, gap="medium"), (_ratio, _shift, _dims), strict=True):
        with column:
            draw()
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown("Try", width="content")
        for label, values in CASES.items():
            st.button(label, type="tertiary", on_click=choose, kwargs=values, key=f"truth_case_{label}")


def _ratio() -> None:
    slider("truth_ratio", SETTINGS, 0.01)


def _shift() -> None:
    slider("truth_shift", SETTINGS, 0.1)


def _dims() -> None:
    pick("truth_dims", SETTINGS, DIMS)


def _law(value: float) -> str:
    if not np.isfinite(value):
        return "∞"
    return f"{value:.4f}" if value < 100 else f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


def reveal() -> str:
    """The two q of the question."""
    narrow, wide = gaps(NARROW, 0.0, 1), gaps(WIDE, 0.0, 1)
    return (
        f"With variance {NARROW} and {WIDE:.2f} times the posterior's, both have KL {kl(NARROW, 0, 1):.4f} nats: so "
        f"far off is the ELBO at every k. $L_{{10}}$ is off by {narrow.at(10):.4f} and {wide.at(10):.4f}, "
        f"$L_{{1000}}$ by {narrow.at(1000):.6f} and {wide.at(1000):.6f}. A wide q wastes {{draws}}; a narrow one "
        "hardly ever visits where its weights are huge."
    )


CORRECTIONS_HELP = (
    "The bias is about −χ²/2k. The delta method estimates χ² from the same weights and adds it back; the jackknife "
    "combines $L_k$ with L of fewer samples so that the leading terms cancel. Dotted: the mean is above log p(x)."
)
LESSON = Lesson(
    slug="truth",
    title="Against the truth",
    idea=(
        "Here log p(x) is known: the {posterior} is a standard normal and q another normal. How far is the mean of "
        "each bound from the truth? For the ELBO it is KL(q ‖ p) at every k. For $L_k$ it falls, in the end like "
        "χ²(p ‖ q)/2k: half the variance of the estimate itself."
    ),
    question=(
        "Two q have the same KL from the {posterior}, hence the same ELBO: one has half its variance, the other 1.76 "
        "times as much. With the same k, whose $L_k$ is closer to the {evidence}?"
    ),
    answers=("The narrow one's", "The wide one's", "Neither: the KL is the same"),
    right=1,
    reveal=reveal,
    notice=(
        "The dashed line never moves: more {draws} do not change what the ELBO estimates. The solid one meets it at "
        "k = 1 and falls.",
        "At variance ½ and below, χ² is infinite. Then the gap falls more slowly than 1/k, however large k is.",
        "1 + χ² is multiplied by the same factor with every dimension. The law holds only once k is some five times "
        "χ²: with 50 dimensions that is far to the right.",
        "The corrections gain a power of k or two, where the law holds. Their means are no bounds: where dotted, they "
        "are above log p(x).",
    ),
    equation=r"\log p(x) - L_k \;=\; \frac{\chi^2(p \,\|\, q)}{2k} + O(k^{-2})",
    code=(exact_curve, gaussian_mismatch_chi_squared, delta_method_mean, jackknife_mean),
    sources="Burda et al. 2016, theorem 1; Nowozin 2018 (law, corrections); Domke & Sheldon 2018 (when the law holds)",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
