"""How much memory a training process takes: an estimate from the sizes of its networks, noise and minibatches."""

from functools import cache
from typing import NamedTuple

import torch

from iwae_core.datasets.mnist import PIXELS
from iwae_core.models import MODELS
from iwae_core.randomness import generator

# Measured on Linux with torch 2.13, MB of 1,000,000 bytes.
LOADING = 690.0  # at the moment at which the data are read
IDLE = 480.0  # afterwards, with two training threads
ROWS = 2500  # k x images that pass the networks at once, unless k alone is more
EVALUATED = 50  # images whose log-weights are held at once
FLOAT = 4


class _Sizes(NamedTuple):
    parameters: int
    outputs: int  # of all affine maps: each has a bias
    noise: int  # numbers that one sample of all latent variables is made of


@cache
def _sizes(model: str) -> _Sizes:
    built = MODELS[model].item(torch.full((PIXELS,), 0.5), generator(0, "init"))
    parameters = list(built.parameters())
    return _Sizes(
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.dim() == 1),
        sum(layer.units for layer in built.recognition.layers),
    )


def run_mb(model: str, k: int, batch_size: int, eval_k: int) -> float:
    """MB that one run adds to its process.

    Parameters with their gradients, Adam's moments and what a checkpoint copies; the noise of a whole minibatch; the
    activations of a micro-batch, each about four times (value, derivative, and what they are computed from); and the
    noise and log-weights of an evaluation.
    """
    sizes = _sizes(model)
    floats = (
        10 * sizes.parameters
        + k * batch_size * sizes.noise
        + 4 * max(k, ROWS) * sizes.outputs
        + eval_k * (sizes.noise + 4 * EVALUATED * 2)
    )
    return FLOAT * floats / 1e6


def process_mb(runs: float) -> float:
    """MB of a process whose runs add so many: most are taken while it loads its data, or while it trains."""
    return max(LOADING, IDLE + runs)
