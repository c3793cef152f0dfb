"""Networks that turn a layer into the parameters of the next: mean and log scale, or logits."""

import torch
from torch import Tensor, nn


class GaussianMLP(nn.Module):
    """Two tanh layers, then mu and log sigma: the paper's form everywhere."""

    def __init__(self, inputs: int, hidden: int, units: int, randomness: torch.Generator) -> None:
        super().__init__()
        self.body = tanh_layers(inputs, hidden, randomness)
        self.mean = glorot(hidden, units, randomness)
        self.log_scale = glorot(hidden, units, randomness)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma, `[..., units]` each."""
        features = self.body(given)
        return self.mean(features), self.log_scale(features)

    def linear_layers(self) -> list[nn.Linear]:
        """The two below, then the two heads."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Linear)]


class Affine(nn.Module):
    """mu = W given + b, the same log sigma for every datum."""

    def __init__(self, weight: Tensor, bias: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma."""
        mean = given @ self.weight.T + self.bias
        return mean, self.log_scale.expand(mean.shape)


class Free(nn.Module):
    """mu and log sigma that depend on nothing: `[units]` for all data, or `[batch, units]`, each datum its own."""

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.log_scale = nn.Parameter(log_scale)

    def forward(self, given: Tensor | None) -> tuple[Tensor, Tensor]:
        """mu and log sigma."""
        return self.mean, self.log_scale


class FreeLogits(nn.Module):
    """Logits that depend on nothing: a prior over binary units."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, given: Tensor | None) -> Tensor:
        """The logits, `[units]`."""
        return self.logits


def tanh_layers(inputs: int, hidden: int, randomness: torch.Generator) -> nn.Sequential:
    """Two tanh layers."""
    return nn.Sequential(glorot(inputs, hidden, randomness), nn.Tanh(), glorot(hidden, hidden, randomness), nn.Tanh())


def glorot(inputs: int, outputs: int, randomness: torch.Generator) -> nn.Linear:
    """A linear map with Glorot uniform weights and zero bias (Glorot & Bengio 2010)."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=randomness)
    nn.init.zeros_(layer.bias)
    return layer


def start_at_frequencies(logits: nn.Linear, pixel_means: Tensor) -> nn.Linear:
    """Output biases at the logit of each pixel's marginal frequency, as in the paper's code."""
    with torch.no_grad():
        logits.bias.copy_(torch.logit(pixel_means.clamp(0.001, 0.999)))
    return logits
