"""When the grey values of training images are turned into observations: anew each time, or once for all."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from iwae_core.data.dataset import Dataset, binarise
from iwae_core.randomness import generator
from iwae_core.registry import Registry

BLOCK = 1000  # images whose random numbers are in memory at once


@dataclass(frozen=True)
class Binarisation:
    """A function of a data set and a seed that returns what minibatches are drawn from, with its label and source."""

    applied: Callable[[Dataset, int], Dataset]
    label: str
    source: str

    def __call__(self, data: Dataset, seed: int) -> Dataset:
        """The data set to train on; its test images are the same, and binarised once per seed in any case."""
        return self.applied(data, seed)


BINARISATIONS: Registry[Binarisation] = Registry("binarisation", Binarisation)


@BINARISATIONS.register(
    "dynamic", label="dynamic: each presentation drawn anew", source="Salakhutdinov & Murray 2008; Burda et al. 2016"
)
def dynamic(data: Dataset, seed: int) -> Dataset:
    """The grey images: `Dataset.minibatch` draws each pixel anew whenever it is shown."""
    return data


@BINARISATIONS.register("static", label="static: each image drawn once", source="Larochelle & Murray 2011")
@lru_cache(maxsize=1)
def static(data: Dataset, seed: int) -> Dataset:
    """Images of black and white, drawn once per seed from the grey values; of these every draw is the same."""
    train = torch.empty(data.train.shape, dtype=torch.uint8)
    for start in range(0, len(train), BLOCK):
        part = slice(start, start + BLOCK)
        train[part] = 255 * binarise(data.train[part], generator(seed, "static binarisation", start))
    return replace(data, train=train)
