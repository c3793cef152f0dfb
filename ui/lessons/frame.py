"""What all lessons share: an idea, a prediction, a picture to move, what to notice, the equation beside its code."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import streamlit as st

from iwae_core.training.process import prepare_process
from iwae_lab.words.glossary import say
from ui.controls import words_switch
from ui.lessons.course import Course
from ui.markdown import plain
from ui.settings import VIEW, Setting, remember, restore


class Lesson(NamedTuple):
    """The words of a lesson. `{terms}` of `iwae_lab.words.sentences.TERMS` follow the reader's dialect.

    `reveal` is called once a prediction was made, and says what the numbers on the page show. `code` are the functions
    that compute the picture; `settings` the controls, which the address restores.
    """

    slug: str
    title: str
    idea: str
    question: str
    answers: tuple[str, ...]
    right: int
    reveal: Callable[[], str]
    notice: tuple[str, ...]
    equation: str
    code: tuple[Callable[..., Any], ...]
    sources: str
    settings: Mapping[str, Setting]


def show(lesson: Lesson, picture: Callable[[], None]) -> None:
    """Draw a lesson; `picture` draws its figures and controls, and is drawn anew when one of them moves."""
    prepare_process()  # holds for this thread alone, and every run of a page or a fragment may have another
    table = {"words": VIEW["words"], **lesson.settings}
    for text in restore(table):
        st.warning(plain(f"{text}. The default is used instead."))
    dialect = st.session_state["words"]
    course = Course(lesson.slug)
    course.above()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(lesson.title, anchor=False)
        words_switch()
    st.markdown(say(lesson.idea, dialect))

    @st.fragment
    def moving() -> None:
        prepare_process()
        restore(lesson.settings)  # or a setting would be forgotten while its input is hidden
        picture()
        remember(table)

    moving()
    _prediction(lesson)
    notice, code = st.columns([2, 3], gap="large")
    with notice:
        st.header("What to notice", anchor=False)
        st.markdown("\n".join(f"- {say(text, dialect)}" for text in lesson.notice))
        st.caption(f"Sources: {lesson.sources}")
    with code:
        st.header("The equation, and the code that computes it", anchor=False)
        st.latex(lesson.equation)
        for function in lesson.code:
            _source(function)
    course.below()


@st.fragment
def _source(function: Callable[..., Any]) -> None:
    name = f"{function.__module__}.{function.__name__}"
    # What colours code is half as large as all else that a page loads: only for those who want to read some.
    opened = st.expander(f"`{name}`", key=f"source_{name}", on_change="rerun")
    if opened.open:
        opened.code(source(function), language="python")


def source(function: Callable[..., Any]) -> str:
    """The code of a function without its decorators, which tell what it is and not what it computes."""
    text = inspect.getsource(function)
    return text[re.search(r"^ *def ", text, re.M).start() :]  # type: ignore[union-attr]


def _prediction(lesson: Lesson) -> None:
    prepare_process()  # the picture before it may have been left otherwise
    dialect = st.session_state["words"]
    with st.container(border=True):
        answers = [say(answer, dialect) for answer in lesson.answers]
        question = f"**Predict.** {say(lesson.question, dialect)}"
        key, told = f"guess_{lesson.slug}", Course(lesson.slug).answer
        guess = st.radio(question, answers, index=None, horizontal=True, key=key, on_change=told)
        if guess is not None:
            verdict = "Right. " if guess == answers[lesson.right] else f"Not so: “{answers[lesson.right]}”. "
            st.success(verdict + say(lesson.reveal(), dialect), icon=":material/lightbulb:")
