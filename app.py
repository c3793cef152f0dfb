"""The front door: page set-up and navigation, nothing else. Start it with `iwae demo`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.resources import files
from threading import Thread
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit import runtime

from ui.lessons import TITLES

ICON = files("ui") / "icon.png"


def main() -> None:
    """Draw the page the visitor asked for."""
    st.html("<style>.stMainBlockContainer { padding-top: 4rem } </style>")
    st.set_page_config(page_title="IWAE laboratory", page_icon=str(ICON), layout="wide")
    pages = {
        "": [
            st.Page(partial(_show, "ui.pages.laboratory"), title="Laboratory", url_path="laboratory", default=True),
            st.Page(partial(_show, "ui.pages.sweep"), title="Training k", url_path="sweep"),
        ],
        "Lessons": [
            st.Page(partial(_show, f"ui.lessons.{name}"), title=title, url_path=name) for name, title in TITLES.items()
        ],
    }
    st.navigation(pages, position="top").run()


def _show(module: str) -> None:
    import_module(module).show()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """While the server runs. At its end workers save their state, so that their runs can go on later."""
    take_over(settings)
    # The heavy imports go on while the first visitor's browser is still loading the page.
    Thread(target=import_module, args=("ui.pages.laboratory",), daemon=True).start()
    yield
    import_module("ui.session").close_engine()


if runtime.exists():
    main()
else:
    from ui.live.hub import live_route
    from ui.live.plotly_route import PlotlyPreload, plotly_js_route
    from ui.live.watch import watch_routes
    from ui.server.door import Door
    from ui.server.process import possible, take_over
    from ui.server.settings import check_settings, server_settings
    from ui.visitor import VisitorCookie

    check_settings()
    settings = possible(server_settings())
    routes = [plotly_js_route(), live_route(), *watch_routes()]
    front = [Middleware(Door, settings=settings), Middleware(VisitorCookie), Middleware(PlotlyPreload)]
    app = st.App(__file__, routes=routes, middleware=front, lifespan=lifespan)
