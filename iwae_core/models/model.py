"""What every latent-variable model offers to estimators, evaluation and pictures."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iwae_core.draws import Draws
from iwae_core.registry import Registry

Noise = tuple[Float[Tensor, "k batch units"], ...]


class Model(nn.Module, ABC):
    """A generative network p(x, h) with parameters theta and a recognition network q(h | x) with parameters phi."""

    generative: nn.Module
    recognition: nn.Module

    @abstractmethod
    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Noise:
        """The parameter-free randomness of `draw`, one `[k, batch, units]` tensor for each stochastic layer."""

    @abstractmethod
    def draw(self, x: Float[Tensor, "batch pixels"], noise: Noise) -> Draws:
        """k samples of h ~ q(h | x) for each datum, a deterministic function of x, noise and the parameters."""

    @abstractmethod
    def sample_prior(self, images: int, randomness: torch.Generator) -> Float[Tensor, "images pixels"]:
        """The mean of x given h ~ p(h): the probability of each pixel being on."""

    @abstractmethod
    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], randomness: torch.Generator
    ) -> Float[Tensor, "batch pixels"]:
        """The mean of x given one h ~ q(h | x)."""


# A builder takes the mean of each pixel in the training data and the generator of the initial weights.
MODELS: Registry[Callable[[Tensor, torch.Generator], Model]] = Registry("model")
