"""Two vocabularies side by side: every term with both names, what it is, and where the code has it; and a quiz."""

import random
import re
from html import escape
from typing import NamedTuple

import streamlit as st
from markupsafe import Markup

from iwae_core.training.fields import Limits
from iwae_lab.words.glossary import TERMS, Dialect, Term, say
from iwae_lab.words.templates import template
from ui.lessons.frame import Lesson
from ui.lessons.frame import show as show_lesson
from ui.settings import Setting, number

LONGEST, OPTIONS = 40, 4


def _find(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters")
    return text


SETTINGS = {
    "words_find": Setting("", _find, "find"),
    "words_quiz": number(1, Limits(1, 999, "question")),
}


class Question(NamedTuple):
    """A term named in one vocabulary, and the names in the other to choose from."""

    term: Term
    options: tuple[str, ...]
    right: int


def table(found: list[Term]) -> str:
    """The terms as HTML, a row each."""
    return template("ui/lessons/words.html.jinja").render(terms=found, symbol=_symbol)


def _symbol(term: Term) -> Markup:
    return Markup(re.sub(r"_(\w+)", r"<sub>\1</sub>", escape(term.symbol)))


def matching(text: str) -> list[Term]:
    """The terms that hold a text anywhere, whatever its case."""
    return [term for term in TERMS.values() if text.casefold() in " ".join(term).casefold()]


def question(index: int, dialect: str) -> Question:
    """One of endlessly many questions, always the same for the same number: the other field's name of a term."""
    dice, terms = random.Random(index), [term for term in TERMS.values() if term.two_names]
    order = random.Random(1 + (index - 1) // len(terms)).sample(terms, len(terms))  # each term once before any again
    term = order[(index - 1) % len(terms)]
    others = dice.sample([other for other in terms if other is not term], OPTIONS - 1)
    options = [other_name(each, dialect) for each in (term, *others)]
    dice.shuffle(options)
    return Question(term, tuple(options), options.index(other_name(term, dialect)))


def other_name(term: Term, dialect: str) -> str:
    """What those call it who do not speak this dialect."""
    return term.deep_learning if dialect == Dialect.STATISTICS else term.statistics


def picture() -> None:
    """The quiz and the table."""
    state = st.session_state
    left, right = st.columns([2, 3], gap="large")
    with left:
        _quiz(state["words_quiz"], state["words"])
    with right:
        st.text_input("Find a term", key="words_find", max_chars=LONGEST, placeholder="a name, symbol or word")
        found = matching(state["words_find"])
        st.caption(f"{len(found)} of {len(TERMS)} terms")
        st.html(table(found))


def _quiz(index: int, dialect: str) -> None:
    asked = question(index, dialect)
    ours = asked.term.statistics if dialect == Dialect.STATISTICS else asked.term.deep_learning
    theirs = Dialect.DEEP_LEARNING if dialect == Dialect.STATISTICS else Dialect.STATISTICS
    with st.container(border=True):
        st.header(f"Match a term: question {index}", anchor=False)
        text = f"In {dialect}: **{ours}**. {asked.term.meaning} What is it in {theirs}?"
        guess = st.radio(text, asked.options, index=None, key=f"words_guess_{dialect}_{index}")
        if guess is not None:
            verdict = "Right" if guess == asked.options[asked.right] else f"It is **{asked.options[asked.right]}**"
            st.success(f"{verdict}. In the code: `{asked.term.where}`", icon=":material/lightbulb:")
        st.button("Next term", icon=":material/arrow_forward:", on_click=_next)


def _next() -> None:
    st.session_state["words_quiz"] = st.session_state["words_quiz"] % 999 + 1


def reveal() -> str:
    """How many terms have two names."""
    differ = sum(term.two_names for term in TERMS.values())
    return (
        f"{differ} of {len(TERMS)} have two names. None is wrong, but each hides something: *encoder* hides that q is "
        "a distribution, *variational lower bound* that a network is trained on it, *loss* that there is a likelihood."
    )


LESSON = Lesson(
    slug="words",
    title="Two vocabularies",
    idea=(
        "Statistics and deep learning met in this method, and each brought its own words. The same number is a "
        "*variational lower bound* here and *minus the VAE loss* there. All pages can speak either: the switch is "
        "beside their titles."
    ),
    question=f"The table holds {len(TERMS)} things. How many of them have two different names?",
    answers=("About a third", "About half", "Nearly all"),
    right=2,
    reveal=reveal,
    notice=(
        "*Weights* are two things: importance weights of draws, and coefficients of a network. Here w is always the "
        "former.",
        "*Likelihood* of what? p(x | h) is the likelihood of h; p(x) that of the parameters, with h integrated out.",
        "*Inference* is learning about h, here by q. Neural-network texts also use it for merely running a network.",
        "*Sample* is one draw in deep learning and a whole set in statistics; these pages say draw in the one dialect "
        "and sample in the other.",
    ),
    equation=(
        r"\begin{gathered} \log \frac1k \sum_{i=1}^k \frac{p_\theta(x, h_i)}{q_\phi(h_i \mid x)} \\"
        r"\begin{array}{rl} p_\theta: & \text{likelihood and prior, or decoder} \\"
        r"q_\phi: & \text{approximate posterior, or encoder} \end{array} \end{gathered}"
    ),
    code=(say,),
    sources="the words of Burda et al. 2016, Rainforth et al. 2018, and Domke & Sheldon 2018",
    settings=SETTINGS,
)


def show() -> None:
    """Draw this lesson."""
    show_lesson(LESSON, picture)
