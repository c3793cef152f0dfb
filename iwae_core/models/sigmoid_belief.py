"""Sigmoid belief networks: binary latent variables, each layer's logits affine in the layer it depends on."""

from itertools import pairwise

import torch
from torch import Tensor

from iwae_core.models.factors import Bernoulli
from iwae_core.models.model import DISCRETE, MODELS, Generative, Model, Recognition
from iwae_core.models.networks import FreeLogits, glorot, start_at_frequencies

SOURCE = "Neal 1992; Bornschein & Bengio 2015; Mnih & Rezende 2016"


def sigmoid_belief(pixel_means: Tensor, randomness: torch.Generator, units: tuple[int, ...]) -> Model:
    """p(h^L) free Bernoulli, then affine logits all the way to x; q the same the other way. Nearest to x first."""
    sizes = (len(pixel_means), *units)
    up = [Bernoulli(b, glorot(a, b, randomness)) for a, b in pairwise(sizes)]
    down = [Bernoulli(a, glorot(b, a, randomness)) for a, b in pairwise(units)]
    pixels = start_at_frequencies(glorot(units[0], sizes[0], randomness), pixel_means)
    prior = Bernoulli(units[-1], FreeLogits(torch.zeros(units[-1])))
    return Model(Generative([prior, *reversed(down), Bernoulli(sizes[0], pixels)]), Recognition(up))


@MODELS.register("sbn_1", label="sigmoid belief network, 200 binary units", source=SOURCE, paths=DISCRETE)
def sbn_1(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-200."""
    return sigmoid_belief(pixel_means, randomness, (200,))


@MODELS.register("sbn_2", label="sigmoid belief network, 200-200 binary units", source=SOURCE, paths=DISCRETE)
def sbn_2(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-200-200."""
    return sigmoid_belief(pixel_means, randomness, (200, 200))


@MODELS.register("sbn_3", label="sigmoid belief network, 200-200-200 binary units", source=SOURCE, paths=DISCRETE)
def sbn_3(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-200-200-200, the network of the VIMCO paper."""
    return sigmoid_belief(pixel_means, randomness, (200, 200, 200))
