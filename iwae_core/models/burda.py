"""The networks of Burda et al. 2016: Gaussian latent variables, tanh layers, Bernoulli pixels."""

import torch
from torch import Tensor, nn

from iwae_core.models.factors import Bernoulli, Gaussian, StandardNormal
from iwae_core.models.model import MODELS, ONE_GAUSSIAN_LAYER, SEVERAL_LAYERS, Generative, Model, Recognition
from iwae_core.models.networks import GaussianMLP, glorot, start_at_frequencies, tanh_layers

SOURCE = "Burda et al. 2016, section 5 and appendix C"


def gaussian_mlp(
    pixel_means: Tensor, randomness: torch.Generator, units: tuple[int, ...], hidden: tuple[int, ...]
) -> Model:
    """p(h^L) = N(0, I), Gaussian layers between, Bernoulli pixels; q and p mirror each other.

    `units` are the sizes of the stochastic layers and `hidden` those of the tanh layers below each, nearest to x first.
    """
    sizes = (len(pixel_means), *units)
    up = [Gaussian(sizes[i + 1], GaussianMLP(sizes[i], hidden[i], sizes[i + 1], randomness)) for i in range(len(units))]
    down = [
        Gaussian(sizes[i], GaussianMLP(sizes[i + 1], hidden[i], sizes[i], randomness)) for i in range(1, len(units))
    ]
    body = tanh_layers(units[0], hidden[0], randomness)
    logits = start_at_frequencies(glorot(hidden[0], sizes[0], randomness), pixel_means)
    pixels = Bernoulli(sizes[0], nn.Sequential(*body, logits))
    return Model(Generative([StandardNormal(units[-1]), *reversed(down), pixels]), Recognition(up))


@MODELS.register("one_layer", label="one stochastic layer, 50 units", source=SOURCE, paths=ONE_GAUSSIAN_LAYER)
def one_layer(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-200-200-50-200-200-784, the paper's first network."""
    return gaussian_mlp(pixel_means, randomness, units=(50,), hidden=(200,))


@MODELS.register("two_layer", label="two stochastic layers, 100 and 50 units", source=SOURCE, paths=SEVERAL_LAYERS)
def two_layer(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-200-200-100-100-100-50, mirrored: the paper's second network."""
    return gaussian_mlp(pixel_means, randomness, units=(100, 50), hidden=(200, 100))


@MODELS.register("one_layer_2d", label="one stochastic layer, 2 units", source=SOURCE, paths=ONE_GAUSSIAN_LAYER)
def one_layer_2d(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """The first network with a latent plane that can be drawn."""
    return gaussian_mlp(pixel_means, randomness, units=(2,), hidden=(200,))


@MODELS.register("two_layer_2d", label="two stochastic layers, 100 and 2 units", source=SOURCE, paths=SEVERAL_LAYERS)
def two_layer_2d(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """The second network with a plane on top."""
    return gaussian_mlp(pixel_means, randomness, units=(100, 2), hidden=(200, 100))
