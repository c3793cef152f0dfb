"""The HTML of this program: Jinja2 templates, which escape every value that is not HTML already."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from iwae_lab.words.markup import heading, inline, math


def data_url(png: bytes) -> str:
    """A picture as an address that holds the picture itself."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


_ENVIRONMENT = Environment(
    autoescape=True,
    loader=FileSystemLoader(Path(__file__).parents[2]),  # templates go by their path from beside the packages
    lstrip_blocks=True,
    trim_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {"data_url": data_url, "heading": heading, "inline": inline, "math": math}
template = _ENVIRONMENT.get_template


def macros(name: str) -> Any:
    """The macros of a template as functions from plain values to HTML."""
    return template(name).module
