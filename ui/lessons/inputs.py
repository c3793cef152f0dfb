"""Inputs of the lessons: each shows a setting of its lesson's table, which the address restores."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ui.settings import Setting


def one_of(default: Any, options: tuple[Any, ...], label: str) -> Setting:
    """One of some values, written in the address as people read them."""
    values = {str(option): option for option in options}

    def parse(text: str) -> Any:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text]

    return Setting(default, parse, label)


def slider(name: str, settings: Mapping[str, Setting], step: int | float, help_text: str | None = None) -> None:
    """A number of the table within its limits.

    Raises:
        ValueError: a setting without limits.
    """
    allowed = settings[name].limits
    if allowed is None:
        raise ValueError(f"a slider needs limits; {name} has none: use pick")
    st.slider(allowed.label, allowed.minimum, allowed.maximum, step=step, key=name, help=help_text)


def pick(name: str, settings: Mapping[str, Setting], options: tuple[Any, ...]) -> None:
    """One of a few ordered values."""
    st.select_slider(settings[name].label, options, key=name, format_func=lambda value: f"{value:,}")
