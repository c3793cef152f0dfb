"""What q learns: L_k is the ordinary ELBO of "draw k, keep one", so that is what it fits, not q itself."""

import math

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.exact.law import exact_curve, resampled_log_prob
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, TRUTH, axes, bars, faint, filled, line
from iwae_lab.lessons.q import (
    DIAGNOSED,
    JUMP,
    KS,
    ONE_MODE,
    TAIL,
    Augmented,
    Normal,
    Picture,
    augmented,
    best,
    fitted,
    four_posteriors,
    picture,
)
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import markdown, minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick, slider
from ui.live.chart import live_chart
from ui.settings import choice, number

BEST, ONE, OWN = WHICH = ("best of all", "best on one mode", "my own")
SETTINGS = {
    "q_k": one_of(2, KS, "k"),
    "q_which": choice(BEST, WHICH, "which q"),
    "q_mean": number(1.33, Limits(-2.0, 2.0, "mean of q")),
    "q_scale": number(0.23, Limits(0.1, 1.5, "standard deviation of q")),
}
STATES = ("00", "01", "10", "11")
SHOWN = 3.2  # the part of the line that is drawn


def densities(found: Picture, k: int) -> go.Figure:
    """The posterior, q, and what is left of q after drawing k and keeping one by its weight."""
    part = np.abs(found.h) <= SHOWN
    h, hover = found.h[part], "%{y:.3f}"
    traces = [
        filled(line(h, found.posterior[part], "p(h | x)", TRUTH, hovertemplate=hover), 0.3),
        line(h, found.q[part], "q(h | x)", COLOURS[0], "dash", hovertemplate=hover),
        line(h, found.resampled[part], f"draw {k:,}, keep one", COLOURS[1], hovertemplate=hover),
    ]
    look = axes("h", "density")
    look["xaxis"] |= {"range": [-SHOWN, SHOWN]}
    look["yaxis"] |= {"range": [0, 1.08 * max(float(trace["y"].max()) for trace in traces)]}
    return go.Figure(traces, look)


def states(found: Augmented) -> go.Figure:
    """Probabilities of four states: the posterior, q, and one kept of k."""
    columns = (
        ("p(h | x)", TRUTH, four_posteriors()),
        ("q(h | x)", faint(COLOURS[0], 0.65), augmented(1).resampled),
        (f"draw {found.k:,}, keep one", COLOURS[1], found.resampled),
    )
    traces = [bars(STATES, values, name, colour, hovertemplate="%{y:.4f}") for name, colour, values in columns]
    look = axes("h", "probability")
    look["xaxis"] |= {"type": "category"}
    return go.Figure(traces, look | {"barmode": "group", "bargap": 0.25})


def table(k: int) -> str:
    """The chain of inequalities at some k, to four decimals, exactly; Markdown."""
    rows = []
    for size in sorted({1, 2, 3, 4, k}):
        found = augmented(size)
        values = (found.l_k, found.elbo_of_resampled, found.gap, found.kl_of_resampled)
        cells = (f"{size:,}", *(minus(value, 4) for value in values))
        rows.append([f"**{cell}**" for cell in cells] if size == k else cells)
    return markdown(("k", "$L_k$", "ELBO of draw k, keep one", "gap of $L_k$", "KL(kept ‖ p)"), rows, left=0)


def numbers(found: Picture, k: int) -> str:
    """What the bounds and the diagnostics say of q; Markdown."""
    k_hat = f"{minus(found.k_hat, 2)}, {'too large' if found.k_hat > 0.67 else 'reliable'}"
    rows = (
        ("ELBO of q", minus(found.elbo)),
        (f"**$L_k$, k = {k:,}**", f"**{minus(found.l_k)}**"),
        (f"ELBO of draw {k:,}, keep one", minus(found.elbo_of_resampled)),
        ("log p(x)", minus(found.log_p)),
        ("gap of $L_k$", f"{found.log_p - found.l_k:.3f}"),
        (f"effective sample size of {DIAGNOSED}", f"{found.ess:.1f}"),
        (f"k-hat of {TAIL:,} {{draws}}", k_hat),
    )
    return markdown(("nats", "this q"), rows)


def draw() -> None:
    """The control of k, the smallest case, and two modes."""
    state = st.session_state
    pick("q_k", SETTINGS, KS)
    k = state["q_k"]
    st.header(f"Draw {k:,}, keep one: the smallest case", anchor=False)
    left, right = st.columns([2, 3], gap="medium", vertical_alignment="center")
    found = augmented(k)
    with left:
        text = f"Four states. Draw {k}, keep one: KL to the posterior {found.kl_of_resampled:.4f} nats."
        live_chart(states(found), key="q_states", description=text, height=260)
    with right:
        st.markdown(table(k))
        st.caption(CHAIN)
    st.header("Two modes, and a q that has one", anchor=False)
    _two_modes(k)


def _two_modes(k: int) -> None:
    state = st.session_state
    st.segmented_control("which q", WHICH, key="q_which", required=True, label_visibility="collapsed")
    if state["q_which"] == OWN:
        left, right = st.columns(2, gap="medium")
        with left:
            slider("q_mean", SETTINGS, 0.01)
        with right:
            slider("q_scale", SETTINGS, 0.01)
    q = {BEST: best(k), ONE: ONE_MODE[k], OWN: Normal(state["q_mean"], state["q_scale"])}[state["q_which"]]
    found = picture(q, k)
    wide, narrow = st.columns([3, 2], gap="medium")
    with wide:
        bounds = f"ELBO {found.elbo:.3f}, {spoken(f'L_{{{k}}}')} {found.l_k:.3f}, log p(x) {found.log_p:.3f}."
        text = f"Densities of the posterior, q = N({q.mean:.2f}, {q.scale:.2f}²) and what is kept: {bounds}"
        live_chart(densities(found, k), key="q_densities", description=text, height=360)
    with narrow:
        st.markdown(f"q = N({minus(q.mean, 2)}, {q.scale:.3f}²)")
        st.markdown(numbers(found, k).replace("{draws}", "draws"))


def reveal() -> str:
    """The jump, and what it does to the ELBO."""
    before, after = picture(best(JUMP - 1), JUMP - 1), picture(best(JUMP), JUMP)
    many = picture(best(100), 100)
    return (
        f"At k = {JUMP - 1} the best q is N({best(JUMP - 1).mean:.2f}, {best(JUMP - 1).scale:.2f}²), at k = {JUMP} "
        f"it is N(0, {best(JUMP).scale:.2f}²). Its ELBO drops from {minus(before.elbo, 2)} to "
        f"{minus(after.elbo, 2)}; $L_k$ does not care, and with the weights it is better. By k = 100 the gap is "
        f"{many.log_p - many.l_k:.3f} nats; on one mode it would still be "
        f"{many.log_p - picture(ONE_MODE[100], 100).l_k:.3f}, about log 2 = {math.log(2):.3f}."
    )


CHAIN = (
    "Sums over all outcomes. The gap is a KL divergence too: of all k draws and the one kept, from what they should "
    "be. Forgetting the other draws can only shrink it, so $L_k$ ≤ ELBO of the kept one ≤ log p(x)."
)
LESSON = Lesson(
    slug="q",
    title="What q learns",
    idea=(
        "Draw k {draws} from q and keep one, chosen by its weight. What is kept has a distribution of its own, "
        "nearer to the {posterior} than q. $L_k$ is the ordinary ELBO of this procedure. So training by $L_k$ "
        "makes *the kept sample* fit, and q itself becomes whatever serves that best."
    ),
    question=(
        "Here the {posterior} has two modes and q is a normal. At k = 1 the best q sits on one mode. What does the q "
        "that is best for $L_k$ do as k grows?"
    ),
    answers=("It stays there", "It widens bit by bit", "It jumps to cover both"),
    right=2,
    reveal=reveal,
    notice=(
        "k = 1 prefers one mode: a q over both would often land in the valley, and the ELBO punishes each such "
        "draw. With more {draws} only some need to land well.",
        f"From k = {JUMP} on, the best q covers both modes. As an approximate posterior it is terrible, and its ELBO "
        "says so. With its weights it is right.",
        "*Best on one mode* is still a maximum, and training may be stuck in it: more {draws} do not bring the "
        "other mode back. Its gap stays near log 2.",
        f"No diagnostic sees that. On one mode the effective sample size is 47 of {DIAGNOSED}, far above that of the "
        "right q: no {draws} ever came from where the weights are large. k-hat warns of the narrowest q only. Try "
        "*my own* with standard deviation 0.23.",
    ),
    equation=(
        r"\begin{aligned} \log p(x) - L_k = \mathrm{KL}\big(&\textstyle\tilde w_j \prod_i q(h_i) \,\big\|\, \\"
        r"&\textstyle\tfrac1k\, p(h_j | x) \prod_{i \neq j} q(h_i)\big) \end{aligned}"
    ),
    code=(exact_curve, resampled_log_prob, fitted),
    sources="Cremer et al. 2017; Domke & Sheldon 2018; Burda et al. 2016, section 3; Vehtari et al. 2024 (k-hat)",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, draw)
