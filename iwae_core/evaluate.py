"""Evaluation: both bounds for every k from one set of weights. Read-only: it never changes a model or its training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.annealing import Bracket, Path, bidirectional, inverse_temperatures
from iwae_core.bounds import LogWeights, elbo
from iwae_core.curves import nested_curve
from iwae_core.device import like
from iwae_core.models import Model, Noise
from iwae_core.randomness import generator

ROWS = 5000  # samples at a time: more would only take memory
IMAGES = 50
SHOWN = 50  # samples of an image that are kept one by one
ACTIVE = 0.01  # the variance above which a unit counts as active


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
    """
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


@torch.no_grad()
def active_units(
    model: Model, x: Float[Tensor, "images pixels"], samples: int, seed: int
) -> list[Float[Tensor, " units"]]:
    """Activity of each unit of each stochastic layer, nearest to x first: Var over images of E_q[h_u | x].

    A unit is active where this exceeds `ACTIVE`. The first layer's mean is exact; the mean of a higher layer averages
    over `samples` draws of the layers below, and the noise this leaves, which would pass for activity, is subtracted.
    Source: Burda et al. 2016, section 5.2.
    """
    starts = range(0, len(x), IMAGES)
    parts = [_unit_means(model, x[s : s + IMAGES], samples, generator(seed, "active units", s)) for s in starts]
    return [
        torch.cat([mean for mean, _ in layer]).var(0) - torch.cat([noise for _, noise in layer]).mean(0)
        for layer in zip(*parts, strict=True)
    ]


def _unit_means(model: Model, x: Tensor, samples: int, randomness: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """For each layer E_q[h | x], `[images, units]`, and the variance of its estimate."""
    given, means = x[None], []
    for index, layer in enumerate(model.recognition.layers):
        mean = layer.mean(given)
        mean = mean.expand(len(given), len(x), -1)
        means.append((mean.mean(0), mean.var(0) / samples if index else torch.zeros_like(mean[0])))
        given, _ = layer.sample(given, layer.noise(samples, len(x), randomness).to(x.dtype))
    return means


class SimulatedEvidence(NamedTuple):
    """Data simulated from a model, `[images, pixels]`, and log p(x) of each, in nats, between two bounds."""

    x: Float[Tensor, "images pixels"]
    bracket: Bracket


def simulated_evidence(
    model: Model,
    images: int,
    chains: int,
    temperatures: int,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> SimulatedEvidence:
    """log p(x) of a model with continuous latent variables by bidirectional annealing from q(h | x).

    The h that each x was simulated with is an exact draw from its posterior, which the upper bound needs. `report`
    hears how many of 3 `temperatures` are done. Source: Wu et al. 2017, who begin at the prior.

    Raises:
        ValueError: a model with discrete latent variables.
    """
    if "reparameterized" not in model.paths:
        raise ValueError("annealing moves h by gradients and needs continuous latent variables; got discrete ones")
    x, h = model.generative.sample(1, images, generator(seed, "simulated data"))
    x, sizes = x[0].detach(), [layer.shape[-1] for layer in h]

    def sample_start(randomness: torch.Generator) -> Tensor:
        return torch.cat(model.recognition.sample(x, model.noise(chains, images, randomness))[0], -1).detach()

    path = Path(
        lambda h: model.recognition(x, h.split(sizes, -1)),
        lambda h: model.generative(x, h.split(sizes, -1)),
        inverse_temperatures(temperatures),
    )
    posterior = torch.cat(h, -1).detach().expand(chains, -1, -1)
    return SimulatedEvidence(x, bidirectional(path, sample_start, posterior, generator(seed, "annealing"), report))
