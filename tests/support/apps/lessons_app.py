"""Lessons 1 to 4 alone, without the laboratory."""

import streamlit as st
from streamlit import runtime

from ui.lessons import network, q, same, truth
from ui.live.plotly_route import plotly_js_route

LESSONS = (same, truth, q, network)


def contents() -> None:
    """The page at the root, as app.py has one."""
    st.title("Lessons")


if runtime.exists():
    st.set_page_config(page_title="Lessons", layout="wide")
    pages = [st.Page(page.show, title=page.LESSON.title, url_path=page.LESSON.slug) for page in LESSONS]
    st.navigation([st.Page(contents, title="Lessons", default=True), *pages], position="hidden").run()
else:
    app = st.App(__file__, routes=[plotly_js_route()])
