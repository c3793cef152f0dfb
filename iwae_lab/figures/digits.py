"""Pictures of digits."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def digit_sheet(digits: NDArray[np.uint8], side: int = 28, gap: int = 2) -> bytes:
    """A PNG of one row of digits `[digits, pixels]`, ink on white, separated by transparent gaps."""
    sheet = np.zeros((side, len(digits) * (side + gap) - gap, 2), np.uint8)
    for index, digit in enumerate(digits):
        left = index * (side + gap)
        sheet[:, left : left + side, 0] = 255 - digit.reshape(side, side)
        sheet[:, left : left + side, 1] = 255
    buffer = io.BytesIO()
    Image.fromarray(sheet, "LA").save(buffer, "PNG")
    return buffer.getvalue()
