"""The front door: page set-up and navigation, nothing else. Start it with `streamlit run app.py`."""

from importlib import import_module
from pathlib import Path
from threading import Thread

import streamlit as st
from streamlit import runtime

from ui.plotly_js import plotly_js_route

ICON = Path(__file__).parent / "ui" / "icon.png"


def main() -> None:
    """Draw the page the visitor asked for."""
    from ui import laboratory

    st.set_page_config(page_title="IWAE laboratory", page_icon=str(ICON), layout="wide")
    st.navigation([st.Page(laboratory.show, title="Laboratory", default=True)], position="hidden").run()


if runtime.exists():
    main()
else:
    # The heavy imports go on while the first visitor's browser is still loading the page.
    Thread(target=import_module, args=("ui.laboratory",), daemon=True).start()
    app = st.App(__file__, routes=[plotly_js_route()])
