"""The part of the lesson "The price of a tight bound" that shows how few draws pull: live, in a shipped network."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, GREY, axes, bars, horizontal
from iwae_lab.lessons.rows import K, Rows, rows
from iwae_lab.shipped.manifest import names
from iwae_lab.words.glossary import say
from ui.lessons.inputs import one_of, pick
from ui.lessons.shipped import choose_digit, label
from ui.live.chart import live_chart
from ui.settings import choose, number

MODELS = names("one_layer")
CS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)
SETTINGS = {
    "rows_model": one_of("iwae_k50" if "iwae_k50" in MODELS else next(iter(MODELS), ""), MODELS, "model"),
    "rows_digit": one_of(7, tuple(range(10)), "digit"),
    "rows_c": one_of(0.2, CS, "c: how much may be left out"),
    "rows_draw": number(0, Limits(0, 10_000, "redraws")),
    "rows_toss": number(0, Limits(0, 10_000, "tosses")),
}
IDEA = (
    "The gradient of $L_k$ is a sum of one row for each of the k {draws}, and each row pulls with its share w̃ of all "
    f"weights. Of {K} {{draws}} a trained model keeps a few alive; the others cost a backward pass each and pull with "
    "next to nothing. So row i is kept with probability $p_i = \\min(1, \\tilde w_i k / c)$, and then pulls with "
    "$\\tilde w_i / p_i$: the mean is the same, exactly. In the laboratory it is the setting *backward pass through*."
)


def most_pull_with_nothing(dialect: str) -> None:
    """Controls, the pulls as bars, and what is saved and what it costs."""
    if not MODELS:
        return
    state = st.session_state
    st.header(say("Most {draws} pull with nothing", dialect), anchor=False)
    st.markdown(say(IDEA, dialect))
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choose_digit("rows_digit")
        st.segmented_control("model trained by", MODELS, format_func=label, key="rows_model", required=True)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        pick("rows_c", SETTINGS, CS)
        st.button("Draw again", icon=":material/casino:", on_click=_next, args=("rows_draw",))
        st.button("Toss again", icon=":material/toll:", on_click=_next, args=("rows_toss",))
    found = rows(state["rows_model"], state["rows_digit"], state["rows_c"], state["rows_draw"], state["rows_toss"])
    live_chart(figure(found), key="rows_bars", description=summary(found), height=320)
    st.markdown(say(meaning(found), dialect))


def figure(found: Rows) -> go.Figure:
    """The pulls, the heaviest first, and what becomes of each; dotted the threshold below which a coin decides."""
    numbers, whole = np.arange(1, K + 1), found.chances == 1
    lucky = (found.kept > 0) & ~whole
    parts = (
        ("kept as they are", COLOURS[0], whole, found.pulls),
        ("kept by the coin, pulling harder", COLOURS[1], lucky, found.kept),
        ("left out", GREY, ~whole & ~lucky, found.pulls),
    )
    traces = [
        bars(numbers[where], pulls[where], f"{name}: {where.sum()}", colour, hovertemplate="%{y:.4f}")
        for name, colour, where, pulls in parts
    ]
    look = axes(f"the {K} draws, the heaviest first", "share w̃ of all weights")
    look["xaxis"] |= {"range": [0.4, K + 0.6], "showgrid": False}
    look["yaxis"] |= {"rangemode": "tozero"}
    shapes = [horizontal(found.threshold)] if found.threshold else []
    return go.Figure(traces, look | {"barmode": "overlay", "bargap": 0.15, "hovermode": "closest", "shapes": shapes})


def summary(found: Rows) -> str:
    """What the bars show, for readers who do not see them."""
    heaviest = ", ".join(f"{pull:.3f}" for pull in found.pulls[:3])
    return f"Pulls of {K} draws: the heaviest {heaviest}; {int((found.kept > 0).sum())} rows are kept."


def meaning(found: Rows) -> str:
    """What is left, saved and paid, in sentences."""
    few = int((found.pulls.cumsum() < 0.9).sum()) + 1
    carried = f"{few} of {K} {{draws}} carry nine tenths of the weight."
    if found.threshold == 0:
        return f"{carried} With c = 0 nothing is left out."
    return (
        f"{carried} On average {found.expected:.1f} rows ({found.expected / K:.0%}) are kept, so the gradient needs "
        f"{found.work:.0%} of the passes (forward 1, backward 2). Leaving the others out adds "
        f"{_percent(found.added / found.variance)} to the variance that this digit's gradient has anyway, from one set "
        "of {draws} to the next."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1g} %" if share >= 1e-6 else "less than 0.0001 %"


def _next(name: str) -> None:
    choose(**{name: (st.session_state[name] + 1) % 10_000})
