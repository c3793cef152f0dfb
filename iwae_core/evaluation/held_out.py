"""Evaluation: both bounds for every k from one set of weights. Read-only: it never changes a model or its training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.curves import nested_curve
from iwae_core.bounds.lower import elbo
from iwae_core.bounds.weights import LogWeights
from iwae_core.device import like
from iwae_core.models import Model, Noise
from iwae_core.randomness import generator

ROWS = 5000  # samples at a time: more would only take memory
IMAGES = 50
SHOWN = 50  # samples of an image that are kept one by one


class Curves(NamedTuple):
    """For each image, in nats: `iwae` estimates L_m for each m of a grid, `elbo` estimates L_1.

    The k-sample minibatch ELBO is averaged over all blocks of k among the same samples. An average of averages is the
    average of all, so its value is the same at every k and it has no k axis.

    `variance` is that of a single k-sample estimate of either kind, see `estimator_variance`; `first` are the first
    log-weights, at most `SHOWN`.
    """

    iwae: Float[Tensor, "points images"]
    elbo: Float[Tensor, " images"]
    variance: Float[Tensor, "2 points images"]
    first: Float[Tensor, "shown images"]


@torch.no_grad()
def log_weights(model: Model, x: Float[Tensor, "images pixels"], samples: int, seed: int, first: int = 0) -> LogWeights:
    """log w of `samples` draws for each image, float64, in bounded working memory.

    The noise belongs to the seed and the image's position (the first being `first`), so different models are compared
    on the same noise, and the result does not depend on how images are grouped.

    Raises:
        ValueError: x is nothing that the model is a distribution of, such as grey values for Bernoulli pixels.
    """
    model.generative.layers[-1].require(x)  # here, where x may still be on the processor
    result = torch.empty(samples, len(x), dtype=torch.float64)
    for image in range(len(x)):
        one, noise = x[image : image + 1].to(like(model)), evaluation_noise(model, samples, seed, first + image)
        encoded = model.encode(one)
        for start in range(0, samples, ROWS):
            block = tuple(layer[start : start + ROWS] for layer in noise)
            draws = model.draw(one, block, encoded=encoded)
            result[start : start + ROWS, image] = draws.log_weights[:, 0]
    return result


def evaluation_noise(model: Model, samples: int, seed: int, image: int) -> Noise:
    """The noise of one held-out image by its position, whatever the model and whatever else is evaluated."""
    return model.noise(samples, 1, generator(seed, "evaluation", image))


def bound_curves(
    model: Model,
    x: Float[Tensor, "images pixels"],
    ks: Sequence[int],
    seed: int,
    report: Callable[[int], None] = lambda images: None,
) -> Curves:
    """Both bounds at every k of `ks` from one set of max(ks) samples an image; test NLL is minus the last L_k.

    Memory is bounded by max(ks) and a few images. `report` hears how many images are done.

    Raises:
        ValueError: sizes that do not nest, see `nested_curve`; those of `nested_grid` do.
    """
    parts = []
    for start in range(0, len(x), IMAGES):
        weights = log_weights(model, x[start : start + IMAGES], max(ks), seed, start)
        variance = estimator_variance(weights, ks)
        parts.append(Curves(nested_curve(weights, ks), elbo(weights), variance, weights[:SHOWN].clone()))
        report(min(start + IMAGES, len(x)))
    return Curves(*(torch.cat(part, -1) for part in zip(*parts, strict=True)))


def estimator_variance(log_weights: LogWeights, ks: Sequence[int]) -> Float[Tensor, "2 points batch"]:
    """The variance over fresh samples of one k-sample estimate of a fixed image, in squared nats, for each k of `ks`.

    First that of the minibatch ELBO, var(log w) / k; then that of the L_k estimate, from the disjoint blocks of k among
    the samples. NaN where there are fewer than two blocks, or samples.
    """
    of_one, cells, rows = _variance(log_weights), {1: log_weights}, []
    for k in ks:
        # Blocks are made of the largest blocks so far that fit into them, so all sizes together cost little.
        size = max(divisor for divisor in cells if k % divisor == 0)
        whole = cells[size][: len(log_weights) // k * (k // size)]
        cells[k] = torch.logsumexp(whole.unflatten(0, (-1, k // size)), 1)
        rows.append(torch.stack([of_one / k, _variance(cells[k])]))
    return torch.stack(rows, 1)


def _variance(values: Tensor) -> Tensor:
    return values.var(0) if len(values) > 1 else torch.full_like(values[0], torch.nan)
