"""A drawing made into an observation as MNIST's digits were, and what each shipped model makes of it."""

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from iwae_core.bounds.curves import nested_curve, nested_grid
from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.bounds.lower import elbo
from iwae_core.bounds.weights import normalized_weights
from iwae_core.data.dataset import binarise
from iwae_core.evaluation.estimate import Floats
from iwae_core.evaluation.held_out import log_weights
from iwae_core.models import Model
from iwae_core.randomness import generator
from iwae_core.training.process import one_thread
from iwae_core.training.snapshots import pictures
from iwae_lab.shipped.models import digits, load

Bytes = NDArray[np.uint8]
Stroke = Sequence[tuple[float, float]]  # points in units of the paper's side, from its upper left corner

SIDE, BOX = 28, 20  # pixels: of an image, and of the square that the ink of a digit is scaled to
MIDDLE = 14.5  # pixels from the upper left corner: where MNIST has the centre of mass, the middle of pixel 14
PAPER = 400  # pixels of the paper's side: twenty for each of the box, so edges come out in many greys
PEN = 0.1  # of the paper's side: about the three pixels of MNIST's lines once scaled
MOST_STROKES, MOST_POINTS = 200, 20_000
SAMPLES = 1000
CURVE_KS = nested_grid(SAMPLES)
CODE = math.ceil(SIDE * SIDE / 8 * 8 / 6)  # characters of an image in an address, six bits each


def _spiral() -> list[Stroke]:
    turns = np.linspace(0, 2.2, 100)
    x, y = (0.5 + 0.19 * turns * wave(2 * np.pi * turns) for wave in (np.cos, np.sin))
    return [list(zip(x.tolist(), y.tolist(), strict=True))]


# Drawings for readers without a pointer, and to compare one's own with.
ODD: dict[str, Sequence[Stroke]] = {
    "spiral": _spiral(),
    "house": [[(0.2, 0.9), (0.2, 0.45), (0.5, 0.1), (0.8, 0.45), (0.8, 0.9), (0.2, 0.9)], [(0.2, 0.45), (0.8, 0.45)]],
    "star": [[(0.5 + 0.42 * math.sin(0.8 * math.pi * i), 0.5 - 0.42 * math.cos(0.8 * math.pi * i)) for i in range(6)]],
    "grid": [[(0.1, y), (0.9, y)] for y in (0.1, 0.5, 0.9)] + [[(x, 0.1), (x, 0.9)] for x in (0.1, 0.5, 0.9)],
}
STARTS = (*map(str, range(10)), *ODD)


def rasterise(strokes: Sequence[Stroke]) -> Bytes:
    """The ink of strokes with a round pen, `[PAPER, PAPER]`, 0 or 255; what lies off the paper is cut.

    Raises:
        ValueError: too many strokes or points, or a point that is no pair of finite numbers.
    """
    points = sum(map(len, strokes))
    if len(strokes) > MOST_STROKES or points > MOST_POINTS:
        raise ValueError(
            f"a drawing has at most {MOST_STROKES} strokes and {MOST_POINTS:,} points; got {len(strokes)} and "
            f"{points:,}: clear the paper and use fewer"
        )
    paper = Image.new("L", (PAPER, PAPER))
    pen = ImageDraw.Draw(paper)
    for stroke in strokes:
        path = [(PAPER * _coordinate(x), PAPER * _coordinate(y)) for x, y in stroke]
        pen.line(path, fill=255, width=round(PEN * PAPER))
        for x, y in path:
            pen.circle((x, y), PEN * PAPER / 2, fill=255)
    return np.asarray(paper)


def _coordinate(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"a point of a drawing is two numbers, from 0 to 1 on the paper; got {value}")
    return min(max(value, -1.0), 2.0)


def normalised(ink: Bytes) -> Bytes:
    """Grey values as MNIST made them, `[28, 28]`, from ink `[rows, columns]` of any size.

    The bounding box is scaled to fit 20 x 20 pixels with its proportions kept; each grey is the share of ink in its
    pixel. Then whole pixels are moved until the centre of mass is in the middle, as far as all ink stays inside.
    Source: LeCun et al. 1998, section III.A, who describe both steps; the filter is not told.

    Raises:
        ValueError: no ink.
    """
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise ValueError("the drawing is empty: draw something, or choose one of the drawings offered")
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = [max(1, round(BOX * side / max(cut.shape))) for side in cut.shape]
    scaled = np.asarray(Image.fromarray(cut).resize((size[1], size[0]), Image.Resampling.BOX))
    result = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (_start(scaled.sum(axis, dtype=np.float64)) for axis in (1, 0))
    result[top : top + size[0], left : left + size[1]] = scaled
    return result


def _start(profile: Floats) -> int:
    """Where the first of these sums of grey goes, so that their centre of mass is in the middle."""
    centre = float(profile @ (np.arange(len(profile)) + 0.5) / profile.sum())
    return int(np.clip(round(MIDDLE - centre), 0, SIDE - len(profile)))


def observed(strokes: Sequence[Stroke]) -> NDArray[np.bool_]:
    """The drawing as the models see it, `[784]`.

    Pixels are drawn with probability equal to their grey, as in training, with the same random numbers for every
    drawing. A threshold would make edges smoother than any seen in training: on test digits that alone adds some ten
    nats to log p(x), and drawings could not be compared with them.

    Raises:
        ValueError: no ink, or too much; see `rasterise`.
    """
    grey = torch.from_numpy(normalised(rasterise(strokes)).reshape(1, -1))
    pixels: NDArray[np.bool_] = binarise(grey, generator(0, "drawing"))[0].numpy() > 0
    return pixels


def encoded(pixels: NDArray[np.bool_]) -> str:
    """784 black or white pixels as text for an address: 98 bytes, row by row, in the alphabet of base64url."""
    return base64.urlsafe_b64encode(np.packbits(pixels).tobytes()).decode().rstrip("=")


def decoded(text: str) -> NDArray[np.bool_]:
    """The inverse of `encoded`.

    Raises:
        ValueError: not what `encoded` writes.
    """
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    pixels = np.unpackbits(np.frombuffer(content, np.uint8)).astype(bool)
    # One text for each image: the last character has bits to spare, and other texts would decode to the same.
    if len(pixels) != SIDE * SIDE or encoded(pixels) != text:
        raise ValueError(f"{CODE} characters of base64url that hold {SIDE} x {SIDE} pixels")
    return pixels


@lru_cache(maxsize=512)
def image(name: str) -> NDArray[np.bool_]:
    """The pixels of a test digit "0" to "9", of an odd drawing, or of what `encoded` wrote, `[784]`.

    Raises:
        ValueError: none of these.
    """
    if name in ODD:
        return observed(ODD[name])
    return digits()[int(name)].numpy() > 0 if name in STARTS else decoded(name)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a model makes of one image: bounds in nats, the weights of its draws, and the image it gives back."""

    elbo: float
    l_k: Floats  # at each k of `CURVE_KS`
    log_weights: Floats  # [SAMPLES]
    reconstruction: Bytes  # [784]

    def shares(self, k: int) -> Floats:
        """Normalised weights of the first k draws, largest first."""
        shares: Floats = normalized_weights(self._first(k))[:, 0].sort(descending=True).values.numpy()
        return shares

    def ess(self, k: int) -> float:
        """The effective sample size of the first k draws."""
        return float(effective_sample_size(self._first(k))[0])

    def _first(self, k: int) -> Tensor:
        return torch.from_numpy(self.log_weights[:k, None])


@lru_cache(maxsize=512)
@one_thread
@torch.no_grad()
def judge(model: str, name: str) -> Judged:
    """Both bounds and the weights of one image under a shipped model, from the same noise for every image.

    The reconstruction is the mean of x given the mean of q(h | x).
    """
    network, x = load(model), torch.from_numpy(image(name))[None].float()
    weights = log_weights(network, x, SAMPLES, seed=0)
    return Judged(
        float(elbo(weights)),
        nested_curve(weights, CURVE_KS)[:, 0].numpy(),
        weights[:, 0].numpy(),
        pictures(reconstruction(network, x))[0],
    )


def reconstruction(model: Model, x: Tensor) -> Tensor:
    """E[x | h] at h = E_q[h | x], layer by layer from x on, `[batch, pixels]`."""
    given, layers = x[None], []
    for layer in model.recognition.layers:
        given = layer.mean(given)
        layers.append(given)
    mean: Tensor = model.generative.mean(tuple(layers))[0]
    return mean
