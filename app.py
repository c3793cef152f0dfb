"""The front door: page set-up and navigation, nothing else. Start it with `iwae demo`."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.resources import files
from threading import Thread
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from streamlit import runtime

from ui.lessons import COURSE, TITLES
from ui.pages import page, story_page

ICON = files("ui") / "icon.png"


def main() -> None:
    """Draw the page the visitor asked for."""
    lessons = [
        page(f"ui.lessons.{name}", f"{number}. {title}", name) for number, (name, title) in enumerate(TITLES.items(), 1)
    ]
    st.session_state[COURSE] = dict(zip(TITLES, lessons, strict=True))
    pages = [
        page("ui.pages.opening", "Laboratory", "laboratory", default=True),
        story_page(),
        page("ui.pages.sweep", "Training k", "sweep"),
    ]
    shown = st.navigation({"": pages, "Lessons": lessons}, position="top")
    title, icon = f"{shown.title} · IWAE laboratory", str(ICON)
    st.set_page_config(page_title=title, page_icon=icon, layout="wide", initial_sidebar_state="collapsed")
    shown.run()


def _prepare() -> None:
    """The heavy imports go on while the first visitor's browser is still loading the page."""
    import_module("ui.pages.laboratory")
    import_module("ui.session").find_again()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """While the server runs. At its end workers save their state, so that their runs can go on later."""
    take_over(settings, at_end=lambda: import_module("ui.session").save_all())
    Thread(target=_prepare, daemon=True).start()
    if settings.metrics_port:
        import_module("ui.live.metrics").serve_metrics(settings.metrics_port)
    yield
    import_module("ui.session").close_engine()
    gc.freeze()  # or Python looks through everything that torch has made before it ends: a second of processor time


if runtime.exists():
    main()
else:
    from ui.live.hub import live_route
    from ui.live.plotly_route import PlotlyPreload, plotly_js_route
    from ui.live.watch import watch_routes
    from ui.server.door import Door
    from ui.server.first_paint import FirstPaint
    from ui.server.presses import keep_presses
    from ui.server.process import possible, spare_memory, take_over
    from ui.server.settings import check_settings, server_settings
    from ui.visitor import VisitorCookie

    spare_memory()
    keep_presses()
    check_settings()
    settings = possible(server_settings())
    routes = [plotly_js_route(), live_route(), *watch_routes()]
    front = [
        Middleware(Door, settings=settings),
        Middleware(VisitorCookie),
        Middleware(PlotlyPreload),
        Middleware(FirstPaint),
    ]
    app = st.App(__file__, routes=routes, middleware=front, lifespan=lifespan)
