"""The front door: page set-up and navigation, nothing else. Start it with `streamlit run app.py`."""

import streamlit as st
from streamlit import runtime

from ui.plotly_js import plotly_js_route


def main() -> None:
    """Draw the page the visitor asked for."""
    from ui import laboratory  # components can only be declared inside a running server

    st.set_page_config(page_title="IWAE laboratory", page_icon=":material/stacked_line_chart:", layout="wide")
    st.navigation([st.Page(laboratory.show, title="Laboratory", default=True)], position="hidden").run()


if runtime.exists():
    main()
else:
    app = st.App(__file__, routes=[plotly_js_route()])
