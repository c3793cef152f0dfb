"""The shipped models as the lessons name and choose them."""

from collections.abc import Sequence

import streamlit as st
from markupsafe import Markup
from numpy import uint8
from numpy.typing import NDArray

from iwae_core.estimators import ESTIMATORS
from iwae_lab.figures import digit_sheet
from iwae_lab.lessons.same import image
from iwae_lab.shipped.manifest import manifest, stages
from iwae_lab.words.templates import data_url

NOTHING = "No trained model of this kind is shipped with this copy of the program."


def label(name: str) -> str:
    """What a shipped model was trained by: its estimator and k, and those it went on with."""
    of = stages(manifest()[name]["spec"])
    return " → ".join(f"{ESTIMATORS[estimator].label}, k\u00a0=\u00a0{k}" for estimator, k in of)


def choose_digit(key: str) -> None:
    """Show the shipped digit of a setting, and the others to choose from."""
    digit: int = st.session_state[key]
    st.html(_img(image(digit), f"The digit {digit}, black and white"), width="content")
    st.pills("digit", range(10), key=key, required=True, wrap=True)


def show_digits(images: Sequence[tuple[str, NDArray[uint8]]]) -> None:
    """Images `[pixels]` in rows, each above its caption."""
    figure = Markup(
        '<figure style="display:inline-block;margin:0 0.75rem 0.5rem 0;vertical-align:top;width:86px">{}'
        '<figcaption style="font-size:0.8rem;line-height:1.25">{}</figcaption></figure>'
    )
    st.html("".join(figure.format(_img(pixels[None], caption), caption) for caption, pixels in images))


def _img(pixels: NDArray[uint8], alt: str) -> Markup:
    style = "width:84px;image-rendering:pixelated;border:1px solid rgba(128,128,128,0.5)"
    return Markup('<img alt="{}" style="{}" src="{}">').format(alt, style, data_url(digit_sheet(pixels)))
