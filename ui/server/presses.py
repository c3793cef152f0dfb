"""What is pressed is done, however soon the next press comes."""

import logging
from typing import Any

LOGGER = logging.getLogger(__name__)


def keep_presses() -> None:
    """Let nothing interrupt a page's script before the callbacks of what was pressed have come to their end.

    Streamlit looks for the next press before them and at their every word to it, and forgets the one in hand if there
    is one: a page that reports by itself that its run has begun would have the visitor's Pause forgotten.
    """
    try:
        from streamlit.runtime.state.safe_session_state import SafeSessionState as State
    except ImportError:
        LOGGER.warning("a press may be lost if the next comes at once: this Streamlit is not one that was tested")
        return
    begin = State.on_script_will_rerun

    def begin_whole(state: Any, *widgets: Any, **others: Any) -> None:
        runner: Any = getattr(state._yield_callback, "__self__", None)
        if not getattr(runner, "_execing", False):
            begin(state, *widgets, **others)
            return
        runner._execing = False  # what a script runner asks itself before it gives way
        try:
            begin(state, *widgets, **others)
        finally:
            runner._execing = True

    State.on_script_will_rerun = begin_whole  # type: ignore[method-assign, assignment]
