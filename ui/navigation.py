"""How a reader has come to an address."""

from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx


def through_history() -> bool:
    """Whether by the browser's Back or Forward: then the address says again what the page is to show."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def first_look(name: str, default: Any = "") -> Any:
    """A setting before the settings are restored: of the address if that says it anew, else as it is."""
    if through_history() or name not in st.session_state:
        return st.query_params.get(name, default)
    return st.session_state[name]
