"""The shipped models as the lessons name and choose them."""

import base64

import streamlit as st
from numpy import uint8
from numpy.typing import NDArray

from iwae_core.estimators import ESTIMATORS
from iwae_core.figures import digit_sheet
from iwae_core.pretrained import manifest

NOTHING = "No trained model of this kind is shipped with this copy of the program."


def label(name: str) -> str:
    """What a shipped model was trained by: its estimator and k."""
    spec = manifest()[name]["spec"]
    return f"{ESTIMATORS[spec['estimator']].label}, k = {spec['k']}"


def show_digit(pixels: NDArray[uint8], digit: int, width: int = 84) -> None:
    """The image itself, `[1, pixels]`, with its name for those who do not see it."""
    data = base64.b64encode(digit_sheet(pixels)).decode()
    style = f"width:{width}px;image-rendering:pixelated;border:1px solid rgba(128,128,128,0.5)"
    st.html(
        f'<img alt="The digit {digit}, black and white" style="{style}" src="data:image/png;base64,{data}">',
        width="content",
    )
