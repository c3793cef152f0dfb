"""Tighter is not always better: the signal-to-noise ratio of both gradients against k."""

import numpy as np
import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import thinned
from iwae_core.exact.weighted_sums import WeightedSums
from iwae_core.training.fields import Limits
from iwae_lab.figures.marks import COLOURS
from iwae_lab.lessons.measured import Measured, measured
from iwae_lab.lessons.price import FORMS, KS, Signal, price
from iwae_lab.shipped.manifest import manifest
from iwae_lab.words.glossary import say
from iwae_lab.words.numbers import minus
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.lessons.inputs import one_of, pick, slider
from ui.lessons.price_certainty import certainty
from ui.lessons.price_figure import PER, figure, shown, summary, table
from ui.lessons.price_rows import SETTINGS as OF_ROWS
from ui.lessons.price_rows import most_pull_with_nothing
from ui.lessons.shipped import label
from ui.live.chart import live_chart
from ui.settings import Setting, choice, choose, number

MOST = len(COLOURS)
EXACT, NETWORK = WHERE = ("a toy, exact", "a trained network, measured")


def _estimators(text: str) -> str:
    names = text.split(",")
    if not 1 <= len(set(names)) == len(names) <= MOST or not set(names) <= set(FORMS):
        raise ValueError(f"up to {MOST} of {', '.join(FORMS)}")
    return text


SETTINGS = {
    "price_estimators": Setting("vae,iwae,dreg,rws", _estimators, "estimators"),
    "price_k": one_of(64, KS, "read at k"),
    "price_dims": number(5, Limits(1, 20, "latent dimensions")),
    "price_ratio": number(1.33, Limits(0.6, 3.0, "variance of q over the posterior's")),
    "price_shift": number(0.3, Limits(0.05, 2.0, "distance of q from the posterior, in its standard deviations")),
    "price_per": choice(PER[0], PER, "compare per"),
    "price_where": choice(EXACT, WHERE if measured() else WHERE[:1], "gradients of"),
    **OF_ROWS,
}


def picture() -> None:
    """Both figures, controls, and the numbers at one k."""
    state, stored = st.session_state, measured()
    of_network = stored if state["price_where"] == NETWORK else None
    found = of_network.price if of_network else price(state["price_dims"], state["price_ratio"], state["price_shift"])
    names = state["price_estimators"].split(",")
    parts = [{name: part[name] for name in names} for part in (found.encoder, found.decoder)]
    per, k = state["price_per"], min(state["price_k"], int(found.encoder["iwae"].ks[-1]))
    ratios = np.concatenate([shown(signal, per) for part in parts for signal in part.values()])
    limits = (max(float(ratios.min()) / 1.5, 1e-6), float(ratios.max()) * 1.5)
    for column, part, who in zip(st.columns(2, gap="medium"), parts, ("phi", "theta"), strict=True):
        with column:
            heading = say(f"Gradient of the {{{who}}}", state["words"])
            st.header(heading, anchor=False)
            description = f"{heading}: signal to noise against k. {summary(part, k, per)}"
            live_chart(figure(part, k, per, limits), key=f"price_{who}", description=description, height=340)
    _controls(of_network)
    st.markdown(say(table(found, names, k), state["words"]))
    most_pull_with_nothing(state["words"])
    certainty(state["words"])


def _controls(of_network: Measured | None) -> None:
    state = st.session_state
    if measured():
        st.segmented_control(SETTINGS["price_where"].label, WHERE, key="price_where", required=True)
    left, right = st.columns(2, gap="large")
    with left:
        _choose()
        pick("price_k", SETTINGS, KS)
        st.segmented_control("compare per", PER, key="price_per", required=True, help=WORK)
    with right:
        if of_network:
            st.markdown(say(how(of_network), state["words"]))
        else:
            for name, step in (("price_dims", 1), ("price_ratio", 0.01), ("price_shift", 0.05)):
                slider(name, SETTINGS, step)
            st.caption(NOTE)


def how(stored: Measured) -> str:
    """What the measured gradients are of, and how exact they are."""
    entry = manifest()[stored.model]
    return (
        f"All weights of the {{q}} and of the {{p}} in the shipped network trained by {label(stored.model)} "
        f"({entry['step']:,} steps); gradients on the ten shipped digits as one minibatch, repeated "
        f"{stored.repetitions} times with fresh noise. Signal is the length of the mean gradient, corrected for what "
        "the noise adds to it; noise is the root of the total variance. The relative standard error of a ratio is "
        f"{np.median(stored.errors):.1%} for most and {stored.errors.max():.0%} for the weakest."
    )


def reveal() -> str:
    """What the picture shows at its first settings."""
    found = price(5, 1.33, 0.3)
    iwae, dreg, decoder = found.encoder["iwae"], found.encoder["dreg"], found.decoder["iwae"]
    return (
        f"At the first settings, differentiating through all {{draws}} gives a ratio for the {{phi}} that falls from "
        f"{iwae.ratio[0]:.2g} at k = 1 to {iwae.ratio[-1]:.2g} at k = {KS[-1]:,}, in the end like k to the power "
        f"{_power(iwae)}, while that for the {{theta}} rises from {decoder.ratio[0]:.2g} to {decoder.ratio[-1]:.2g}. "
        "Once w is averaged over many {draws}, which q they came from hardly matters: the gradient of φ is of order "
        "1/k and its noise of order 1/√k. DReG has the same mean and much less noise: its ratio rises, like k to the "
        f"power {_power(dreg)}."
    )


def _choose() -> None:
    state = st.session_state
    state["price_shown"] = state["price_estimators"].split(",")
    st.multiselect(
        "estimators",
        list(FORMS),
        format_func=lambda name: ESTIMATORS[name].label,
        key="price_shown",
        max_selections=MOST,
        on_change=_chosen,
    )


def _chosen() -> None:
    choose(price_estimators=",".join(st.session_state["price_shown"] or ["iwae"]))


def _power(signal: Signal) -> str:
    return minus(signal.slope(), 2)


WORK = (
    "A forward pass through the decoder counts 1, a backward pass 2. Keeping one sample of k, drawn by its weight, "
    "needs k forward passes and one backward pass instead of k. Per unit of work: as many gradients averaged as cost "
    "the same."
)
NOTE = (
    "Exact for any k, by quadrature, without simulation. h ~ N(μ, I), x | h ~ N(h, I) and q = N(b, vI); the gradients "
    "are those of b and μ in the first dimension, where q is off centre. MIWAE and PIWAE average 8 bounds of k/8 "
    "samples. RWS has no signal at all at k = 1, so its line begins at k = 2."
)
LESSON = Lesson(
    slug="price",
    title="The price of a tight bound",
    idea=(
        "A tighter bound is a better target, but training sees only noisy gradients of it. The ratio of a gradient's "
        "mean to its standard deviation tells how many steps it takes to notice where to go. For the {p} that ratio "
        "grows with k. For the {q} it depends on the {estimator}."
    ),
    question=(
        "Raise k from 1 to 4,096 and differentiate $L_k$ through all {draws}, as the paper does. What happens to the "
        "signal-to-noise ratio of the gradient for the {phi}?"
    ),
    answers=("It grows like √k", "It stays the same", "It fades like 1/√k"),
    right=2,
    reveal=reveal,
    notice=(
        "The plain IWAE line falls on the left and rises on the right: what is good for the {p} starves the {q}. "
        "Tighter is not always better.",
        "DReG, STL and RWS are cures: in the toy their lines rise on both sides. DReG keeps the mean of IWAE; STL and "
        "RWS pull q towards the posterior instead, with a mean that does not fade.",
        "MIWAE spends its {draws} on eight looser bounds: better on the left, worse on the right. PIWAE takes each "
        "side from the better one.",
        "One sample kept of k costs a third, but its noise does not fall with k: switch to *unit of work* and see "
        "where that pays.",
        "Switch to the trained network. It is far from any limit, yet on the left IWAE falls, DReG falls less, STL and "
        "RWS rise; on the right all rise.",
        "The laws hold once k is well above the spread of the weights. With 20 dimensions and q too narrow (0.6), the "
        "lines bend and DReG’s falls.",
    ),
    equation=(
        r"\begin{gathered} \mathrm{SNR} = \frac{|E\,\Delta|}{\mathrm{sd}(\Delta)} \\"
        r"\mathrm{SNR}_\theta \sim \sqrt{k}, \quad \mathrm{SNR}_\phi \sim 1/\sqrt{k} \end{gathered}"
    ),
    code=(ESTIMATORS["iwae"].surrogate, ESTIMATORS["dreg"].surrogate, WeightedSums.moments, thinned),
    sources=(
        "Rainforth et al. 2018 (the law and the model); Roeder et al. 2017 (STL); Tucker et al. 2018 (DReG); "
        "Bornschein & Bengio 2015 (RWS); Burda et al. 2016, section 3.1 (one sample); Horvitz & Thompson 1952 and "
        "Kahn & Harris 1951 (rows that count)"
    ),
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
