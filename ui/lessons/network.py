"""What the network learns: a latent plane that can be drawn, for a VAE and an IWAE side by side."""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from iwae_core.evaluation.activity import active_units
from iwae_core.evaluation.plane import latent_plane
from iwae_core.exact.law import resampled_log_prob
from iwae_core.models import MODELS
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS, Trace, axes, dots, ellipses, faint, sizes
from iwae_lab.lessons.network import KS, Plane, plane, typical_width
from iwae_lab.shipped.manifest import manifest, names
from iwae_lab.words.markup import spoken
from iwae_lab.words.numbers import markdown, minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick
from ui.lessons.shipped import NOTHING, choose_digit, label
from ui.live.chart import live_chart
from ui.settings import number

SHOWN = names("one_layer_2d")[:2]
SETTINGS = {
    "network_digit": one_of(9, tuple(range(10)), "digit"),
    "network_k": one_of(20, KS, "k"),
    "network_redraw": number(0, Limits(0, 100_000, "redraws")),
}


def extent(found: Plane) -> tuple[list[float], float]:
    """Centre, and half the side, of the square around what can be seen of the posterior and q."""
    inside = found.posterior > 0.02
    seen = [axis[inside.any(across)] for across, axis in enumerate(found.axes)]
    low = np.minimum([part.min() for part in seen], found.mean - 2.7 * found.scale)
    high = np.maximum([part.max() for part in seen], found.mean + 2.7 * found.scale)
    return ((low + high) / 2).tolist(), float((high - low).max() / 2)


def figure(found: Plane, colour: str, k: int, half: float) -> go.Figure:
    """The posterior (filled), q at one and two standard deviations (dashed), what is kept (solid), weighted draws.

    `half` is half the side of the square that is shown: the same for models that are to be compared.
    """
    kept = {"start": 0.15, "end": 0.85, "size": 0.35, "coloring": "lines"}
    filled = {"start": 0.05, "end": 0.95, "size": 0.15}
    grey = [[0, "rgba(128,128,128,0)"], [1, "rgba(128,128,128,0.75)"]]
    one = [[0, colour], [1, colour]]
    traces = [
        _contour(found, found.posterior, "p(h | x)") | {"contours": filled, "colorscale": grey, "line": {"width": 0}},
        _contour(found, found.resampled, f"draw {k}, keep one")
        | {"contours": kept, "colorscale": one, "line": {"width": 1.5, "color": colour}},
        ellipses(found.mean, found.scale, "q(h | x)", colour, "dash"),
        _cloud(found, colour),
    ]
    look = axes("h₁", "h₂")
    for name, middle in zip(("xaxis", "yaxis"), extent(found)[0], strict=True):
        look[name] |= {"range": [middle - half, middle + half], "zeroline": False, "constrain": "domain"}
    look["yaxis"] |= {"scaleanchor": "x"}
    return go.Figure(traces, look | {"hovermode": "closest"})


def _contour(found: Plane, density: np.ndarray, name: str) -> Trace:
    x, y = found.axes
    return {
        "type": "contour",
        "name": name,
        "x": x.astype(np.float32),
        "y": y.astype(np.float32),
        "z": density.astype(np.float32),
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "showlegend": True,
        "hoverinfo": "skip",
    }


def _cloud(found: Plane, colour: str) -> Trace:
    marker = {"color": faint(colour, 0.5), "size": sizes(found.shares, 24), "line": {"width": 1, "color": colour}}
    return dots(
        *found.draws.T,
        marker=marker,
        name="draws, by weight",
        customdata=found.shares.astype(np.float32),
        hovertemplate="share of the weight %{customdata:.3f}<extra></extra>",
    )


def table(found: list[Plane], k: int) -> str:
    """What the bounds say of this digit under each model; Markdown."""
    rows = [
        ("ELBO of q", *(minus(each.elbo, 2) for each in found)),
        (f"$L_k$, k = {k}", *(minus(each.l_k, 2) for each in found)),
        (f"ELBO of draw {k}, keep one", *(minus(each.elbo_of_resampled, 2) for each in found)),
        ("log p(x)", *(minus(each.log_p, 2) for each in found)),
        (f"effective sample size of these {k}", *(f"{each.ess:.1f}" for each in found)),
    ]
    return markdown(("nats, this digit", *map(label, SHOWN)), rows)


def activity() -> str:
    """Test results and active units of all shipped models; Markdown."""
    rows = []
    for name, entry in manifest().items():
        units = MODELS[entry["spec"]["model"]].label.rpartition(", ")[2]
        nll = f"{entry['nll']:.1f} ± {2 * entry['nll_stderr']:.1f}"
        rows.append((label(name), units, nll, minus(entry["elbo"], 1), " + ".join(map(str, entry["active_units"]))))
    return markdown(("trained by", "latent", "test NLL", "ELBO", "active"), rows, left=2)


def picture() -> None:
    """Both planes, controls, and the numbers."""
    if not SHOWN:
        st.info(NOTHING)
        return
    state = st.session_state
    digit, k = state["network_digit"], state["network_k"]
    found = [plane(name, digit, k, state["network_redraw"]) for name in SHOWN]
    half = max(extent(each)[1] for each in found)
    for column, each, name, colour in zip(st.columns(len(SHOWN), gap="medium"), found, SHOWN, COLOURS, strict=False):
        with column:
            st.header(label(name), anchor=False)
            bounds = f"ELBO {each.elbo:.1f}, {spoken(f'L_{{{k}}}')} {each.l_k:.1f}, log p(x) {each.log_p:.1f} nats."
            widths = f"q has widths {each.scale[0]:.2f} and {each.scale[1]:.2f}."
            text = f"Latent plane of {label(name)}. {widths} {bounds}"
            live_chart(figure(each, colour, k, half), key=f"network_{name}", description=text, height=400)
    pick("network_k", SETTINGS, KS)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choose_digit("network_digit")
        st.button("Redraw", icon=":material/casino:", on_click=_redraw, key="network_again")
    left, right = st.columns([2, 3], gap="medium")
    left.markdown(table(found, k))
    right.markdown(activity())
    right.caption(MEASURED)


def _redraw() -> None:
    st.session_state["network_redraw"] = (st.session_state["network_redraw"] + 1) % 100_000


def reveal() -> str:
    """Widths of q, and what they do to both bounds."""
    if len(SHOWN) < 2:
        return NOTHING
    widths = " and ".join(f"{typical_width(name):.2f} for {label(name)}" for name in SHOWN)
    entries = [manifest()[name] for name in SHOWN]
    gaps = " and ".join(f"{-entry['nll'] - entry['elbo']:.1f}" for entry in entries)
    return (
        f"The standard deviation of q, a typical value over the ten digits: {widths}. Its ELBO on test digits is below "
        f"$L_k$ at k = {entries[0]['samples']:,} by {gaps} nats."
    )


MEASURED = (
    "Test NLL is minus $L_k$ at the largest k measured, ± two standard errors over test digits; a unit is active "
    "if the mean of q varies over digits by more than 0.01. If there are only two, both are, in any model; of two "
    "layers nearly all units of the first are, since their means follow the layer above."
)
LESSON = Lesson(
    slug="network",
    title="What the network learns",
    idea=(
        "Two networks with a latent plane, trained on the same digits: one by the ELBO, one by $L_k$. For one digit "
        "you see its {posterior} (grey, computed on a grid), q (dashed), {draws} from q as large as their "
        "weights, and the distribution of one kept of k (solid)."
    ),
    question="Whose q is wider?",
    answers=("The VAE's", "The IWAE's", "They are alike"),
    right=1,
    reveal=reveal,
    notice=(
        "The ELBO punishes all {draws} outside the {posterior}, so the VAE's q keeps to the inside, even if "
        "that misses a part: of digit 9 half, and at no k does $L_k$ get that back. $L_k$ needs only some of k to "
        "hit, so the IWAE's q is wide. Both squares have the same size.",
        "Move k. At 1 what is kept is q itself. As k grows it takes the shape of the {posterior}: bent, long, or in "
        "two parts, where q cannot follow.",
        "The model bends too. Trained by the ELBO, it prefers a {posterior} that such a q can fit; trained by $L_k$ it "
        "need not. With 50 latent units, this shows as more active units.",
        "Most {draws} from the wide q weigh next to nothing. Judged by its ELBO alone, the IWAE looks bad.",
    ),
    equation=(r"q_{EW}(h | x) = \mathbb{E}\left[\frac{p(x, h)}{\tfrac1k \big(w(h) + \sum_{j=2}^k w_j\big)}\right]"),
    code=(latent_plane, resampled_log_prob, active_units),
    sources="Burda et al. 2016, sections 3 and 5.2; Cremer et al. 2017 (what is kept)",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
