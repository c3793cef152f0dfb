"""The latent plane of a model with one layer of two units: the posterior of an image, q, and its samples."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.models import MODELS, Model
from iwae_core.models.factors import Gaussian

SIDE = 41  # points of a grid along either axis
BLOCK = 400  # points decoded together
PRIOR = 4.0  # the first grid reaches this far from the origin
DEEP = 8.0  # nats below the maximum: too little to be seen
WIDTHS = 3.5  # standard deviations of q to be seen


def has_plane(model: Model) -> bool:
    """Whether the latent space is one layer of two continuous units."""
    first, *more = model.recognition.layers
    return not more and first.units == 2 and isinstance(first, Gaussian)


@cache
def named_plane(model: str) -> bool:
    """The same of the models of a name."""
    return has_plane(MODELS[model](torch.zeros(1), torch.Generator()))


@torch.no_grad()
def latent_plane(model: Model, x: Float[Tensor, "digits pixels"]) -> dict[str, NDArray[Any]]:
    """For each image the posterior on a square grid of its own, and q; arrays as in `Snapshot`, blank without a plane.

    A first grid over the prior finds where the posterior is, wherever q may be; a second one, as fine, is laid over
    that region and q.
    """
    boxes, density = torch.full((len(x), 3), torch.nan), torch.zeros(len(x), SIDE, SIDE)
    q = torch.full((len(x), 2, 2), torch.nan)
    if has_plane(model):
        mean, log_scale = model.recognition.layers[0].network(x)
        q = torch.stack([mean, log_scale.exp()], 1)
        coarse = grid(torch.tensor([0.0, 0.0, PRIOR]))
        boxes = torch.stack([_box(*pair, coarse) for pair in zip(log_joint(model, x, coarse), q, strict=True)])
        for image, box in enumerate(boxes):
            values = log_joint(model, x[image : image + 1], grid(box))[0]
            density[image] = torch.exp(values - values.max()).reshape(SIDE, SIDE)
    return {
        "plane": (255 * density).round().to(torch.uint8).numpy(),
        "plane_box": boxes.float().numpy(),
        "plane_q": q.float().numpy(),
    }


def grid(box: Float[Tensor, "3"]) -> Float[Tensor, "points 2"]:
    """The points of a square given by its centre and half its side; the first coordinate changes fastest."""
    steps = box[2] * torch.linspace(-1, 1, SIDE)
    return torch.cartesian_prod(box[1] + steps, box[0] + steps).flip(1)


def log_joint(model: Model, x: Float[Tensor, "images pixels"], h: Float[Tensor, "points 2"]) -> Tensor:
    """log p(x, h) for every image and point, `[images, points]`: the posterior up to a factor of each image."""
    prior, pixels = model.generative.layers
    parts = []
    for block in h.to(x.dtype).split(BLOCK):
        # What a point decodes to is the same for all images: the points take the place of the batch.
        many = x[:, None].expand(-1, len(block), -1)
        parts.append(pixels(many, block) + prior(block, None))
    return torch.cat(parts, 1)


def _box(values: Tensor, q: Tensor, points: Tensor) -> Tensor:
    """The smallest square around the points that matter, a step more on every side, and around q."""
    mean, scale = q
    seen = points[values > values.max() - DEEP]
    step = 2 * PRIOR / (SIDE - 1)
    low = torch.minimum(seen.amin(0) - step, mean - WIDTHS * scale)
    high = torch.maximum(seen.amax(0) + step, mean + WIDTHS * scale)
    return torch.cat([(low + high) / 2, (high - low).amax()[None] / 2])
