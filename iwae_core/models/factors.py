"""The factors a model is made of: the distribution of one layer given the layer it depends on."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iwae_core.device import PROCESSOR
from iwae_core.models.bernoulli import LogDensity, bernoulli_log_likelihood, bernoulli_network_log_likelihood

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
Derivative = Literal["total", "path", "score"]
Output = tuple[Tensor, ...] | None


class Conditional(nn.Module, ABC):
    """p(value | given), its units independent. Calling it gives log p(value | given), summed over units, `[k, batch]`.

    `given` is `[batch, units]` or `[k, batch, units]`; a factor that depends on nothing ignores it.
    """

    reparameterized: ClassVar[bool]
    units: int
    network: nn.Module

    @abstractmethod
    def forward(self, value: Float[Tensor, "*k batch units"], given: Tensor | None) -> LogDensity:
        """log p(value | given), differentiable in the parameters, and in both arguments if continuous."""

    def output(self, given: Tensor | None) -> tuple[Tensor, ...]:
        """What the network makes of `given`."""
        found = self.network(given)
        return found if isinstance(found, tuple) else (found,)

    def require(self, value: Tensor) -> None:
        """Refuse observations that the factor is no distribution of; any real number is one, unless a factor says so.

        Raises:
            ValueError: tells which are allowed.
        """

    @abstractmethod
    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Float[Tensor, "k batch units"]:
        """The parameter-free randomness of `sample`."""

    @abstractmethod
    def sample(
        self,
        given: Tensor | None,
        noise: Float[Tensor, "k batch units"],
        derivative: Derivative = "total",
        output: Output = None,
    ) -> tuple[Float[Tensor, "k batch units"], LogDensity]:
        """A value made from noise, and its log-density, with one of three derivatives.

        "total" goes through the value and through the parameters, "path" through the value and `given` but not through
        the parameters, and with "score" the value is a constant. `output` is `output(given)`, if that is known already.
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

    def sample(
        self, given: Tensor | None, noise: Tensor, derivative: Derivative = "total", output: Output = None
    ) -> tuple[Tensor, Tensor]:
        """mu + sigma noise (Kingma & Welling 2014), its density in terms of the noise: exact, and the cheapest."""
        mean, log_scale = self.output(given) if output is None else output
        value = torch.addcmul(mean, log_scale.exp(), noise)
        if derivative == "total":
            return value, self._log_density(noise, log_scale)
        if derivative == "score":
            value = value.detach()
        elif given is not None and given.requires_grad:
            # The parameters are held fixed, not the mean and scale they give: those depend on h below, too.
            mean, log_scale = _held_fixed(self.network, given)
        else:
            mean, log_scale = mean.detach(), log_scale.detach()
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

    def sample(
        self, given: Tensor | None, noise: Tensor, derivative: Derivative = "total", output: Output = None
    ) -> tuple[Tensor, Tensor]:
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
        layers = linear_layers(self.network)
        if layers and given is not None and given.ndim == 3:
            return bernoulli_network_log_likelihood(value, given, layers)
        return bernoulli_log_likelihood(value, self.network(given))

    def require(self, value: Tensor) -> None:
        """Zeros and ones: the cross-entropy of a grey value is the log of no probability, and no bound on log p(x)."""
        # Another device than the processor would have to be waited for.
        if value.device == PROCESSOR and not torch.equal(value, value.square()):
            raise ValueError("a Bernoulli likelihood is of pixels 0 and 1; got others: draw them, see `binarise`")

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Tensor:
        """Uniform on [0, 1)."""
        return torch.rand(k, batch, self.units, generator=randomness)

    def sample(
        self, given: Tensor | None, noise: Tensor, derivative: Derivative = "total", output: Output = None
    ) -> tuple[Tensor, Tensor]:
        """1 where the noise is below the probability. The value carries no derivative: it is the score at any rate."""
        (logits,) = self.output(given) if output is None else output
        value = (noise < torch.sigmoid(logits)).to(logits.dtype)
        return value, bernoulli_log_likelihood(value, logits)

    def mean(self, given: Tensor | None) -> Tensor:
        """The probability of a one."""
        return torch.sigmoid(self.network(given))


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network made of them and tanh between; none if it is another."""
    parts = list(network) if isinstance(network, nn.Sequential) else [network]
    linear, between = parts[::2], parts[1::2]
    fits = all(isinstance(part, nn.Linear) for part in linear) and all(isinstance(part, nn.Tanh) for part in between)
    return [part for part in linear if isinstance(part, nn.Linear)] if fits and len(parts) % 2 else []


def _held_fixed(network: nn.Module, given: Tensor) -> Any:
    """What the network makes of `given`, its parameters constants."""
    fixed = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return torch.func.functional_call(network, fixed, (given,))
