"""A mean and its standard error."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


class Estimate(NamedTuple):
    """A mean over images and its standard error, in nats."""

    mean: Floats
    stderr: Floats


def estimate(values: Floats) -> Estimate:
    """Mean and standard error over the last axis, `[..., images]` to `[...]`, accumulated in float64.

    The error is that of a fresh draw of images and noise: sd / sqrt(images). Give it differences of two runs on the
    same images and it is the paired error of the comparison.
    """
    images = values.shape[-1]
    return Estimate(values.mean(-1, dtype=np.float64), values.std(-1, ddof=1, dtype=np.float64) / np.sqrt(images))
