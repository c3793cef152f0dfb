"""Your own digit: draw one, and see what each shipped model makes of it."""

import numpy as np
import streamlit as st

from iwae_core.bounds.curves import nested_curve
from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_lab.lessons.digit import ODD, PEN, SAMPLES, STARTS, Judged, encoded, image, judge, normalised, observed
from iwae_lab.shipped.manifest import manifest, names
from iwae_lab.words.glossary import say
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import markdown, minus
from ui.lessons.digit_figure import against_k, map_of_drawings, weights
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of
from ui.lessons.shipped import NOTHING, label, show_digits
from ui.live.chart import live_chart
from ui.live.sketch import Strokes, sketch
from ui.settings import Setting

MODELS = names("one_layer")
WEIGHTS = (5, 10, 20, 50)
FIRST = "3"


def _image(text: str) -> str:
    """A drawing's name, or its pixels as text."""
    try:
        image(text)
    except ValueError as error:
        raise ValueError(f"one of {', '.join(STARTS)}, or {error}") from error
    return text


def _trained() -> tuple[int, ...]:
    """The values of k that the shipped models were trained with."""
    return tuple(sorted({manifest()[name]["spec"]["k"] for name in MODELS}))


SETTINGS = {
    "digit_x": Setting(FIRST, _image, "drawing"),
    "digit_trained": one_of(5 if 5 in _trained() else next(iter(_trained()), 5), _trained(), "models trained with k ="),
    "digit_k": one_of(20, WEIGHTS, "weights shown"),
}


def table(found: dict[str, Judged], k: int) -> str:
    """Both bounds of the drawing under every model, and of the average test digit; Markdown."""
    rows = []
    for name, each in found.items():
        bound, digits = each.l_k[-1], minus(-manifest()[name]["nll"], 1)
        rows.append((label(name), minus(bound, 1), f"{bound - each.elbo:.1f}", f"{each.ess(k):.1f}", digits))
    return markdown(("nats", f"$L_{{{SAMPLES}}}$", "over ELBO", "ESS", "digits"), rows)


def sentence(found: dict[str, Judged], k: int) -> str:
    """What the figures show of the models compared."""
    parts = []
    for name, each in found.items():
        bound, entry = float(each.l_k[-1]), manifest()[name]
        parts.append(
            f"{label(name)}: $L_{{{SAMPLES}}}$ {minus(bound, 1)} nats, {_beside(bound + entry['nll'])}; the ELBO is "
            f"{bound - each.elbo:.1f} lower, and {k} {{draws}} count for {each.ess(k):.1f}."
        )
    return " ".join(parts)


def _beside(lead: float) -> str:
    return f"{abs(lead):.0f} {'above' if lead > 0 else 'below'} the average test digit"


def picture() -> None:
    """The paper, what the models see and give back, both bounds, the weights, and the drawing among others."""
    if not MODELS:
        st.info(NOTHING)
        return
    state = st.session_state
    paper, seen = st.columns([1, 2], gap="large")
    with paper:
        sketch(key="digit_paper", pen=PEN, turn=state.get("digit_turn", 0), on_drawing=_drawn)
    with seen:
        _choose()
        found = {name: judge(name, state["digit_x"]) for name in MODELS}
        given = [(f"{label(name)} gives back", each.reconstruction) for name, each in found.items()]
        show_digits([("what the models see", 255 * image(state["digit_x"]).astype(np.uint8)), *given])
        with st.container(horizontal=True, gap="large"):
            if len(_trained()) > 1:
                st.segmented_control(SETTINGS["digit_trained"].label, _trained(), key="digit_trained", required=True)
            st.segmented_control(SETTINGS["digit_k"].label, WEIGHTS, key="digit_k", required=True)
    _figures(found)


def _choose() -> None:
    """Drawings to begin with; none is marked once the reader's own is shown."""
    state = st.session_state
    state["digit_start"] = state["digit_x"] if state["digit_x"] in STARTS else None
    st.pills("test digits and odd drawings", STARTS, key="digit_start", on_change=_chosen, wrap=True)
    if problem := state.get("digit_problem"):
        st.caption(f":orange[{problem}]")


def _chosen() -> None:
    state = st.session_state
    state["digit_x"] = state["digit_start"] or state["digit_x"]
    state["digit_turn"] = state.get("digit_turn", 0) + 1
    state["digit_problem"] = ""


def _drawn(strokes: Strokes) -> None:
    """Show the drawing as the models see it; the shipped digit while there is none."""
    state = st.session_state
    try:
        state["digit_x"], state["digit_problem"] = encoded(observed(strokes)), ""
    except ValueError as error:
        state["digit_x"], state["digit_problem"] = FIRST, f"Test digit {FIRST} is shown: {error}."


def _figures(found: dict[str, Judged]) -> None:
    state = st.session_state
    k, dialect = state["digit_k"], state["words"]
    pair = {name: found[name] for name in MODELS if manifest()[name]["spec"]["k"] == state["digit_trained"]}
    heard = spoken(sentence(pair, k))
    left, right = st.columns(2, gap="medium")
    with left:
        st.header("Both bounds of this drawing", anchor=False)
        live_chart(
            against_k(pair), key="digit_bounds", description=say(f"Bounds against k. {heard}", dialect), height=330
        )
        st.markdown(say(table(found, k), dialect))
    with right:
        st.header(say(f"The weights of {k} {{draws}}", dialect), anchor=False)
        live_chart(
            weights(pair, k),
            key="digit_weights",
            description=say(f"Weights, largest first. {heard}", dialect),
            height=220,
        )
        st.header("This drawing among others", anchor=False)
        others = {name: {start: judge(name, start) for start in STARTS} for name in pair}
        text = f"Test digits, odd drawings and this one: how probable, and how far the ELBO is off. {heard}"
        live_chart(map_of_drawings(pair, others), key="digit_map", description=say(text, dialect), height=300)
    st.caption(say(NOTE, dialect))


def reveal() -> str:
    """Both gaps and the evidence of test digits and of odd drawings, on average."""
    if not MODELS:
        return NOTHING
    parts = []
    for name in MODELS:
        digit, odd = (_average(name, starts) for starts in (STARTS[:10], tuple(ODD)))
        parts.append(f"{label(name)}: {digit[1]:.1f} for the ten test digits, {odd[1]:.1f} for the odd drawings")
    common, rare = (_average(MODELS[-1], starts)[0] for starts in (STARTS[:10], tuple(ODD)))
    return (
        f"The difference of $L_{{{SAMPLES}}}$ and ELBO, in nats, on average. {'; '.join(parts)}. "
        f"The {{evidence}} falls from about {minus(common, 0)} to {minus(rare, 0)}. q was never trained on such "
        "drawings: hardly any of its {draws} explain them, and one weight carries nearly all."
    )


def _average(model: str, starts: tuple[str, ...]) -> tuple[float, float]:
    """L_k at the largest k, and how far the ELBO is below, on average over drawings."""
    found = [judge(model, start) for start in starts]
    bounds, elbos = np.array([each.l_k[-1] for each in found]), np.array([each.elbo for each in found])
    return float(bounds.mean()), float((bounds - elbos).mean())


NOTE = (
    f"$L_{{{SAMPLES}}}$ stands for log p(x), which it is below; *over ELBO*: how far it is above the ELBO. ESS: how "
    "many {draws} of equal weight those shown are worth. *Digits*: the same bound of the average test digit, measured "
    f"on {max((entry['images'] for entry in manifest().values()), default=0):,}. The drawing is made into 28 × 28 "
    "pixels as MNIST's digits were: scaled to 20 × 20, centred by mass, each pixel drawn as black with probability "
    "equal to its grey. Every drawing meets the same noise. “Gives back”: the mean of x at the mean of q."
)
LESSON = Lesson(
    slug="digit",
    title="Your own digit",
    idea=(
        "Draw a digit, well or badly, or something that is none. Networks trained on MNIST judge it at once: how "
        "probable is it, and how far is the ELBO below $L_k$? Both are computed from the same {draws} of q."
    ),
    question="Draw a neat digit, then something that no digit looks like. Where is $L_k$ further above the ELBO?",
    answers=("For the digit", "For the odd drawing", "It is the same: q is the same network"),
    right=1,
    reveal=reveal,
    notice=(
        "Odd drawings lie far to the left: low {evidence}. Most lie high up too: there the ELBO is furthest off.",
        "Low {evidence} alone is not it. What counts is whether q finds the h that explain the drawing; a house may "
        "pass for a digit.",
        "The models give back a digit, whatever you draw: a {p} trained on digits knows nothing else.",
        "One weight carries nearly all and $L_k$ still climbs at the right end: then log p(x) is well above it, and "
        f"{SAMPLES:,} {{draws}} are too few.",
    ),
    equation=(
        r"\begin{gathered} L_k - L_1 = E\,\mathrm{KL}(U_k \,\|\, \tilde w) \\"
        r"\mathrm{ESS} = 1 \,/\, \textstyle\sum_i \tilde w_i^2 \end{gathered}"
    ),
    code=(normalised, nested_curve, effective_sample_size),
    sources="LeCun et al. 1998 (how MNIST was made); Burda et al. 2016, theorem 1; Kish 1965 (effective sample size)",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
