"""Lessons, each at its own address, with a table of contents in front."""

import streamlit as st
from streamlit import runtime

from ui.live.plotly_route import plotly_js_route

if runtime.exists():
    from ui.lessons import digit, discrete, own_model, price, words

    lessons = (price, discrete, digit, own_model, words)
    pages = [st.Page(m.show, title=m.LESSON.title, url_path=m.LESSON.slug) for m in lessons]

    def contents() -> None:
        """Links to the lessons."""
        for page in pages:
            st.page_link(page)

    st.set_page_config(layout="wide")
    st.navigation([st.Page(contents, title="Lessons", default=True), *pages], position="hidden").run()
else:
    app = st.App(__file__, routes=[plotly_js_route()])
