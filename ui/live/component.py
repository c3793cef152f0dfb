"""A live component: HTML, a style sheet and a script, mounted by Streamlit or by the page of those who only watch."""

from pathlib import Path
from typing import NamedTuple

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
FIRST = "".join((HERE / name).read_text(encoding="utf-8") for name in ("shared.js", "feed.js"))


class Source(NamedTuple):
    """What a component is made of; its script stands after what all share, and exports what mounts it."""

    html: str
    css: str
    script: str


SOURCES: dict[str, Source] = {}


def component(name: str, html: str, css: str, script: str) -> ComponentRenderer:
    """Register a component whose script is in a file of this folder."""
    SOURCES[name] = Source(html, css, (HERE / script).read_text(encoding="utf-8"))
    return alone(name, html, css, script)


def alone(name: str, html: str, css: str, script: str) -> ComponentRenderer:
    """The same for one that the page of those who only watch does without."""
    # Plotly writes its style sheet to the document, where a shadow root would not see it.
    code = FIRST + (HERE / script).read_text(encoding="utf-8")
    return st.components.v2.component(name, html=html, css=css, js=code, isolate_styles=False)
