"""One module for each page, and what belongs to one."""

from functools import partial
from importlib import import_module
from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage


def page(module: str, title: str, path: str, **more: Any) -> StreamlitPage:
    """A page for the menu or a link, drawn by `show` of a module that is imported when somebody opens it."""
    return st.Page(partial(_show, module), title=title, url_path=path, **more)


def story_page() -> StreamlitPage:
    """The page to which the laboratory links."""
    return page("ui.pages.story", "The story", "story")


def _show(module: str) -> None:
    import_module(module).show()
