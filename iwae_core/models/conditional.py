"""The factors a model is made of: the distribution of one layer given the layer it depends on."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
LogDensity = Float[Tensor, "k batch"]


class Conditional(nn.Module, ABC):
    """p(value | given), its units independent. Calling it gives log p(value | given), summed over units, `[k, batch]`.

    `given` is `[batch, units]` or `[k, batch, units]`; a factor that depends on nothing ignores it.
    """

    reparameterized: ClassVar[bool]
    units: int

    @abstractmethod
    def forward(self, value: Float[Tensor, "*k batch units"], given: Tensor | None) -> LogDensity:
        """log p(value | given), differentiable in the parameters, and in both arguments if continuous."""

    @abstractmethod
    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Float[Tensor, "k batch units"]:
        """The parameter-free randomness of `sample`."""

    @abstractmethod
    def sample(
        self, given: Tensor | None, noise: Float[Tensor, "k batch units"], detach: bool = False
    ) -> tuple[Float[Tensor, "k batch units"], LogDensity]:
        """A value made from noise, and its log-density.

        The density's derivative is the total one, through the value and through the parameters; with `detach` the value
        is a constant and the derivative is the score.
        """

    @abstractmethod
    def mean(self, given: Tensor | None) -> Tensor:
        """The expectation of the value."""


class Gaussian(Conditional):
    """N(mu(given), diag sigma(given)^2); the network returns mu and log sigma, `[..., units]` each.

    The second output is the log of a standard deviation, as in the code of Burda et al. (their text has variances).
    """

    reparameterized = True

    def __init__(self, units: int, network: nn.Module) -> None:
        super().__init__()
        self.units = units
        self.network = network

    def forward(self, value: Tensor, given: Tensor | None) -> Tensor:
        """log N(value; mu, sigma^2)."""
        mean, log_scale = self.network(given)
        return self._log_density((value - mean) * torch.exp(-log_scale), log_scale)

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Tensor:
        """Standard normal."""
        return torch.randn(k, batch, self.units, generator=randomness)

    def sample(self, given: Tensor | None, noise: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """mu + sigma noise (Kingma & Welling 2014), its density in terms of the noise: exact, and the cheapest."""
        mean, log_scale = self.network(given)
        value = mean + log_scale.exp() * noise
        if not detach:
            return value, self._log_density(noise, log_scale)
        value = value.detach()
        return value, self._log_density((value - mean) * torch.exp(-log_scale), log_scale)

    def mean(self, given: Tensor | None) -> Tensor:
        """mu."""
        mean: Tensor = self.network(given)[0]
        return mean

    def _log_density(self, standardised: Tensor, log_scale: Tensor) -> Tensor:
        return -0.5 * standardised.square().sum(-1) - log_scale.sum(-1) - self.units * HALF_LOG_2PI


class StandardNormal(Conditional):
    """N(0, I), the paper's prior; depends on nothing."""

    reparameterized = True

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def forward(self, value: Tensor, given: Tensor | None = None) -> Tensor:
        """log N(value; 0, I)."""
        return -0.5 * value.square().sum(-1) - self.units * HALF_LOG_2PI

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Tensor:
        """Standard normal: the value itself."""
        return torch.randn(k, batch, self.units, generator=randomness)

    def sample(self, given: Tensor | None, noise: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """The noise."""
        return noise, self(noise)

    def mean(self, given: Tensor | None) -> Tensor:
        """Zero."""
        return torch.zeros(self.units)


class Bernoulli(Conditional):
    """Independent binary units; the network returns their logits, `[..., units]`."""

    reparameterized = False

    def __init__(self, units: int, network: nn.Module) -> None:
        super().__init__()
        self.units = units
        self.network = network

    def forward(self, value: Tensor, given: Tensor | None) -> Tensor:
        """log Bernoulli(value; sigmoid(logits)); constant in `value`."""
        return bernoulli_log_likelihood(value, self.network(given))

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Tensor:
        """Uniform on [0, 1)."""
        return torch.rand(k, batch, self.units, generator=randomness)

    def sample(self, given: Tensor | None, noise: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """1 where the noise is below the probability. The value carries no derivative with or without `detach`."""
        logits = self.network(given)
        value = (noise < torch.sigmoid(logits)).to(logits.dtype)
        return value, bernoulli_log_likelihood(value, logits)

    def mean(self, given: Tensor | None) -> Tensor:
        """The probability of a one."""
        return torch.sigmoid(self.network(given))


def bernoulli_log_likelihood(x: Float[Tensor, "*k batch units"], logits: Float[Tensor, "... units"]) -> LogDensity:
    """sum over units of x l - log(1 + e^l), from logits l, which cannot underflow. Constant in x."""
    if logits.dim() < x.dim():
        logits = logits.expand(x.shape)
    value: Tensor = _BernoulliLogLikelihood.apply(x, logits)  # type: ignore[no-untyped-call]
    return value


class _BernoulliLogLikelihood(torch.autograd.Function):
    """Written out because autograd would pass over the logits three times more; not differentiable in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor) -> Tensor:
        ctx.save_for_backward(x, logits)
        return torch.einsum("...d,...d->...", x, logits) - softplus(logits).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x, logits = ctx.saved_tensors
        return None, torch.sub(x, torch.sigmoid(logits)).mul_(gradient.unsqueeze(-1))
