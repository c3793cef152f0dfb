"""Same samples, two formulas: average the logs, or take the log of the average, of the same k weights."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.bounds.diagnostics import kl_from_uniform
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.evaluation.estimate import Floats
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, TRUTH, Trace, axes, band, bars, dots, faint, line
from iwae_lab.lessons.same import KS, TRAIL, Draw, Expected, draw, expected, trail
from iwae_lab.shipped.manifest import names
from iwae_lab.words.numbers import markdown, minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick
from ui.lessons.shipped import NOTHING, choose_digit, label
from ui.live.chart import live_chart
from ui.settings import choice, number

MODELS = names("one_layer")
FIRST, LAST, BETWEEN = VIEWS = ("log first", "log last", "difference")
SETTINGS = {
    "same_model": one_of(MODELS[0] if MODELS else "", MODELS, "model"),
    "same_digit": one_of(4, tuple(range(10)), "digit"),
    "same_k": one_of(8, KS, "k"),
    "same_view": choice(FIRST, VIEWS, "where is the log?"),
    "same_redraw": number(0, Limits(0, 100_000, "redraws")),
}
BLUE = COLOURS[0]


def weights(found: Draw, view: str) -> go.Figure:
    """The k weights as bars, with the log taken of each, of their average, or not at all."""
    k = len(found.shares)
    numbers = np.arange(1, k + 1)
    if view == FIRST:
        span = max(float(np.ptp(found.log_weights)), 1.0)
        floor = float(found.log_weights.min()) - 0.25 * span
        heights, level, note = found.log_weights - floor, found.elbo, f"average of the logs: {minus(found.elbo, 2)}"
        look = axes(f"the {k} draws", "log w")
    else:
        scale = found.shares if view == BETWEEN else found.shares / found.shares.max()
        floor, heights, level = 0.0, scale, float(scale.mean())
        note = f"their average; its log: {minus(found.l_k, 2)}" if view == LAST else f"all equal: 1/{k}"
        look = axes(f"the {k} draws", "w, in units of the largest" if view == LAST else "share of the total weight")
    columns = bars(
        numbers,
        heights,
        "weights",
        faint(BLUE, 0.5),
        base=floor,
        customdata=found.log_weights.astype(np.float32),
        hovertemplate="log w = %{customdata:.2f}",
        showlegend=False,
    )
    dash = {FIRST: "dash", LAST: "solid", BETWEEN: "dot"}[view]
    ends = np.array([0.4, k + 0.6])
    average = line(ends, np.full(2, level), note, TRUTH if view == BETWEEN else BLUE, dash, hoverinfo="skip")
    top = max(float(heights.max()) + floor, level)
    look["yaxis"] |= {"range": [floor, top + 0.06 * (top - floor)]}
    look["xaxis"] |= {"range": [0.4, k + 0.6], "showticklabels": False, "showgrid": False}
    return go.Figure([columns, average | {"showlegend": True}], look | {"hovermode": "closest"})


def against_k(average: Expected, now: Draw, past: tuple[Floats, Floats], k: int) -> go.Figure:
    """What both formulas give at every k on average, with the spread of one draw; this draw, and those before."""
    flat = line(KS, np.full(len(KS), average.elbo), "average of logs", BLUE, "dash", hovertemplate="%{y:.2f}")
    rising = line(KS, average.l_k, "log of average", BLUE, hovertemplate="%{y:.2f}")
    traces = [band(flat, average.elbo_spread), flat, band(rising, average.l_k_spread), rising]
    places = (0.93 * k, 1.07 * k)
    for place, values, now_at, symbol in zip(places, past, (now.elbo, now.l_k), ("diamond", "circle"), strict=True):
        traces.append(_dots(place, values, symbol, 5, faint(TRUTH, 0.55)))
        traces.append(_dots(place, np.array([now_at]), symbol, 12, BLUE))
    low = min(average.elbo - 1.2 * float(average.elbo_spread[0]), now.elbo)
    high = max(float(average.l_k[-1]) + 1.2 * float(average.l_k_spread[-1]), now.l_k)
    look = axes("k (log scale)", "nats")
    look["xaxis"] |= {"type": "log", "tickvals": KS, "range": [-0.1, np.log10(KS[-1]) + 0.1]}
    look["yaxis"] |= {"range": [low - 0.5, high + 0.5]}
    return go.Figure(traces, look | {"hovermode": "closest"})


def _dots(x: float, y: Floats, symbol: str, size: int, colour: str) -> Trace:
    marker, name = {"symbol": symbol, "size": size, "color": colour}, "this draw" if size > 5 else "earlier draws"
    return dots(np.full(len(y), x), y, marker=marker, name=name, hovertemplate="%{y:.2f}", showlegend=False)


def table(now: Draw, average: Expected, k: int) -> str:
    """Both formulas, this time and on average, and their difference computed in two ways; Markdown."""
    at = KS.index(k)
    elbo = minus(now.elbo, 2) + (f" ± {2 * now.elbo_error:.2f}" if k > 1 else "")
    rows = (
        ("average of logs", elbo, minus(average.elbo, 2), f"{average.elbo_spread[at]:.2f}"),
        ("log of average", minus(now.l_k, 2), minus(average.l_k[at], 2), f"{average.l_k_spread[at]:.2f}"),
        ("difference", f"{now.l_k - now.elbo:.6f}", f"{average.l_k[at] - average.elbo:.2f}", ""),
        ("KL(uniform ‖ shares)", f"{now.kl:.6f}", "", ""),
    )
    return markdown((f"nats, k = {k}", f"these {k}", "on average", "one draw's spread"), rows)


def picture() -> None:
    """The weights, both formulas against k, controls, and the numbers."""
    if not MODELS:
        st.info(NOTHING)
        return
    state = st.session_state
    chosen, k = (state["same_model"], state["same_digit"]), state["same_k"]
    now, average = draw(*chosen, k, state["same_redraw"]), expected(*chosen)
    left, right = st.columns(2, gap="medium")
    with left:
        text = f"{k} weights as bars. Average of the logs {now.elbo:.2f}, log of the average {now.l_k:.2f} nats."
        live_chart(weights(now, state["same_view"]), key="same_bars", description=text, height=330)
    with right:
        past = trail(*chosen, k, state["same_redraw"])
        text = f"Both formulas against k. On average {average.elbo:.2f} at every k, and {average.l_k[KS.index(k)]:.2f}."
        live_chart(against_k(average, now, past, k), key="same_against_k", description=text, height=330)
    _controls()
    st.markdown(table(now, average, k))


def _controls() -> None:
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.segmented_control("where is the log?", VIEWS, key="same_view", required=True, help=WHERE)
        st.button("Redraw", icon=":material/casino:", on_click=_redraw, args=(1,))
        st.button("Redraw 20 times", on_click=_redraw, args=(20,))
    pick("same_k", SETTINGS, KS)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choose_digit("same_digit")
        st.segmented_control("model trained by", MODELS, format_func=label, key="same_model", required=True)


def _redraw(times: int) -> None:
    allowed = SETTINGS["same_redraw"].limits
    most = int(allowed.maximum) if allowed else 0
    st.session_state["same_redraw"] = (st.session_state["same_redraw"] + times) % (most + 1)


def reveal() -> str:
    """What the model and digit on the page show."""
    if not MODELS:
        return NOTHING
    state = st.session_state
    average = expected(state["same_model"], state["same_digit"])
    return (
        f"The average of k logs is {minus(average.elbo, 1)} on average, at k = 1 and at k = 64; its spread falls "
        f"from {average.elbo_spread[0]:.1f} to {average.elbo_spread[-1]:.1f}. The log of the average climbs from "
        f"{minus(average.l_k[0], 1)} to {minus(average.l_k[-1], 1)}. Averaging k logs buys a less noisy estimate of "
        "the wrong number; averaging inside the log buys a better number."
    )


WHERE = (
    "First: take the log of each weight, then average. Last: average the weights, then take the log. The weights are "
    "the same. Difference: each weight as a share of their sum."
)
LESSON = Lesson(
    slug="same",
    title="Same samples, two formulas",
    idea=(
        "Take k {draws} of the {h} of one digit from the {q}; each has a weight $w_i = p(x, h_i) / q(h_i | "
        "x)$. Average the logs of the k weights, or take the log of their average: same numbers, same cost. Why is "
        "one better?"
    ),
    question="Redraw a few times, then drag k from 1 to 64. What happens, on average over redraws?",
    answers=("Both climb", "Only the log of the average climbs", "Neither moves, both get less noisy"),
    right=1,
    reveal=reveal,
    notice=(
        "*Log first*: a few hopeless {draws} pull the average far down. *Log last*: they count as weights of zero, and "
        "the best ones decide.",
        "More {draws} make the average of logs a better estimate of the same number, the ELBO. They move the log "
        "of the average up: its spread shrinks *and* its target rises.",
        "On every draw the difference is exactly KL(uniform ‖ shares): how unequal the weights are. At k = 1, or if "
        "all weights are equal, there is none.",
        f"Grey: the {TRAIL} redraws before this one, at the same k. ± is two standard errors.",
    ),
    equation=(
        r"\begin{aligned} &\log \tfrac1k \textstyle\sum_i w_i - \tfrac1k \textstyle\sum_i \log w_i \\ "
        r"&= \textstyle\sum_i \tfrac1k \log \tfrac{1/k}{\tilde w_i} = \mathrm{KL}(U_k \,\|\, \tilde w) \end{aligned}"
    ),
    code=(elbo, iwae_bound, kl_from_uniform),
    sources="Burda et al. 2016, eq. 7 and 8; Jensen's inequality for the logarithm",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
