"""A data set of grey images, and the binarisation that turns greys into observations."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.randomness import generator
from iwae_core.registry import Registry


@dataclass(frozen=True)
class Dataset:
    """Grey images `[n, pixels]` from 0 to 255, uint8 or float32, and their labels `[n]`, for training and testing."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    @cached_property
    def train_mean(self) -> Tensor:
        """Mean grey value of each pixel over the training images, in [0, 1], `[pixels]`."""
        return self.train.sum(0) / (255.0 * len(self.train))

    def minibatch(self, seed: int, step: int, size: int) -> Tensor:
        """The observations of one training step `[size, pixels]` in {0, 1}.

        Images come in a fresh random order every epoch (a last incomplete minibatch is dropped), and each presentation
        draws every pixel anew with probability equal to its grey value (Salakhutdinov & Murray 2008). The result
        depends on the arguments alone, so every run of an experiment sees the same minibatches.
        """
        epoch, batch = divmod(step, len(self.train) // size)
        order = _order(seed, epoch, len(self.train))[batch * size : (batch + 1) * size]
        return binarise(self.train[order], generator(seed, "binarisation", step))

    def held_out(self, seed: int, images: int) -> Tensor:
        """The first `images` test images, binarised once per seed `[images, pixels]`; all if there are fewer."""
        return binarise(self.test[:images], generator(seed, "test binarisation"))

    def validating(self, images: int) -> "Dataset":
        """The same with its last training images, at most a sixth, in the place of the test images: a validation split.

        What is decided while training is decided on these, so that the test images can judge what came of it.
        """
        kept = max(2, min(images, len(self.train) // 6))
        images_of, labels_of = (part.split([len(part) - kept, kept]) for part in (self.train, self.train_labels))
        return Dataset(images_of[0], labels_of[0], images_of[1], labels_of[1])


@dataclass(frozen=True)
class DataSource:
    """A function that reads a data set, under what name people know it, and whose it is."""

    load: Callable[[], Dataset]
    label: str
    source: str

    def __call__(self) -> Dataset:
        """The data set; the same object at every call."""
        return self.load()


DATASETS: Registry[DataSource] = Registry("data set", DataSource)


def dataset_of(
    train: NDArray[Any], train_labels: NDArray[Any], test: NDArray[Any], test_labels: NDArray[Any]
) -> Dataset:
    """The data set of files that hold images `[n, ...]` in some order; a fixed one makes every prefix representative.

    The first half of MNIST's test images, for instance, is easier than the second.
    """
    order = np.random.default_rng(0).permutation(len(test))
    arrays = train.reshape(len(train), -1), train_labels, test.reshape(len(test), -1)[order], test_labels[order]
    return Dataset(*(torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in arrays))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, images: int) -> Tensor:
    return torch.randperm(images, generator=generator(seed, "order", epoch))


def binarise(grey: Tensor, randomness: torch.Generator) -> Tensor:
    """Draw every pixel as 1 with probability grey / 255, else 0; `[n, pixels]` to float32."""
    return (torch.rand(grey.shape, generator=randomness) * 255 < grey).float()
