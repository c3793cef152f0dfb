"""The lessons as a course: which one this is, how many predictions were made, and the way to the next."""

import streamlit as st

from iwae_lab.words.templates import macros
from ui.lessons import COURSE

HTML = macros("ui/lessons/course.html.jinja")
ANSWERED = "answered"  # where the session keeps the lessons whose prediction was made


class Course:
    """The place of one lesson among those this server shows; where it shows no course, nothing is drawn."""

    def __init__(self, slug: str) -> None:
        pages = st.session_state.get(COURSE, {})
        self.slug, self.pages, self.names = slug, pages, list(pages)
        self.place = self.names.index(slug) if slug in pages else -1

    def answer(self) -> None:
        """Its prediction was made."""
        st.session_state.setdefault(ANSWERED, set()).add(self.slug)

    def above(self) -> None:
        """Number and progress, between the ways back and on."""
        if self.place < 0:
            return
        with st.container(
            horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="course"
        ):
            self._link(self.place - 1, ":material/arrow_back:", "Previous")
            answered = st.session_state.get(ANSWERED, set())
            marks = [(name == self.slug, name in answered) for name in self.names]
            st.html(HTML.progress(self.place + 1, marks), width="content")
            self._link(self.place + 1, ":material/arrow_forward:", "Next")

    def below(self) -> None:
        """The next lesson by its title."""
        if 0 <= self.place < len(self.names) - 1:
            page = self.pages[self.names[self.place + 1]]
            st.page_link(page, label=f"Next: {page.title}", icon=":material/arrow_forward:")

    def _link(self, place: int, icon: str, label: str) -> None:
        """A way to another lesson; at either end of the course there is none, and its place stays empty."""
        if 0 <= place < len(self.names):
            page = self.pages[self.names[place]]
            st.page_link(page, label=label, icon=icon, help=page.title, width="content")
        else:
            st.space("small")
