"""The networks of Burda et al. 2016: Gaussian latent variables, tanh layers, Bernoulli pixels."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from iwae_core.draws import Draws
from iwae_core.models.model import MODELS, Model, Noise

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class GaussianLayer(nn.Module):
    """A network giving the mean and log standard deviation of a diagonal Gaussian."""

    def __init__(self, inputs: int, hidden: int, units: int, randomness: torch.Generator) -> None:
        super().__init__()
        self.body = tanh_layers(inputs, hidden, randomness)
        self.mean = glorot(hidden, units, randomness)
        self.log_scale = glorot(hidden, units, randomness)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma, `[..., units]` each. The network's second output is exponentiated to a standard deviation,

        as in the paper's code (its text speaks of variances).
        """
        features = self.body(x)
        return self.mean(features), self.log_scale(features)


class BernoulliLayer(nn.Module):
    """A network giving the logits of independent pixels."""

    def __init__(self, units: int, hidden: int, pixel_means: Tensor, randomness: torch.Generator) -> None:
        super().__init__()
        self.body = tanh_layers(units, hidden, randomness)
        self.logits = glorot(hidden, len(pixel_means), randomness)
        # The paper's code starts from the marginal frequency of each pixel.
        with torch.no_grad():
            self.logits.bias.copy_(torch.logit(pixel_means.clamp(0.001, 0.999)))

    def forward(self, h: Tensor) -> Tensor:
        """Logits `[..., pixels]`."""
        out: Tensor = self.logits(self.body(h))
        return out


class OneLayer(Model):
    """One stochastic layer: h ~ N(0, I), x | h ~ Bernoulli; q(h | x) = N(mu(x), diag sigma(x)^2).

    The paper's network is 784-200-200-50-200-200-784. Source: Burda et al. 2016, section 5 and appendix C.
    """

    def __init__(self, pixel_means: Tensor, randomness: torch.Generator, hidden: int = 200, units: int = 50) -> None:
        super().__init__()
        self.units = units
        self.recognition = GaussianLayer(len(pixel_means), hidden, units, randomness)
        self.generative = BernoulliLayer(units, hidden, pixel_means, randomness)

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Noise:
        """Standard normal `[k, batch, units]`."""
        return (torch.randn(k, batch, self.units, generator=randomness),)

    def draw(self, x: Float[Tensor, "batch pixels"], noise: Noise) -> Draws:
        """h = mu + sigma noise, reparameterised (Kingma & Welling 2014).

        log q is written in terms of the noise. That is exact, and its derivative is the total derivative in phi; an
        estimator that holds phi fixed inside log q cannot use it.
        """
        (eps,) = noise
        mean, log_scale = self.recognition(x)
        h = mean + log_scale.exp() * eps
        constant = self.units * HALF_LOG_2PI
        log_q = -0.5 * eps.square().sum(-1) - log_scale.sum(-1) - constant
        log_prior = -0.5 * h.square().sum(-1) - constant
        return Draws(x, (h,), log_prior + bernoulli_log_likelihood(x, self.generative(h)), log_q)

    def sample_prior(self, images: int, randomness: torch.Generator) -> Float[Tensor, "images pixels"]:
        """Pixel probabilities given h ~ N(0, I)."""
        return torch.sigmoid(self.generative(torch.randn(images, self.units, generator=randomness)))

    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], randomness: torch.Generator
    ) -> Float[Tensor, "batch pixels"]:
        """Pixel probabilities given one h ~ q(h | x)."""
        (h,) = self.draw(x, self.noise(1, len(x), randomness)).h
        return torch.sigmoid(self.generative(h[0]))


def bernoulli_log_likelihood(
    x: Float[Tensor, "batch pixels"], logits: Float[Tensor, "k batch pixels"]
) -> Float[Tensor, "k batch"]:
    """log p(x | h) = sum over pixels of x l - log(1 + e^l), from logits l, which cannot underflow."""
    value: Tensor = _BernoulliLogLikelihood.apply(x, logits)  # type: ignore[no-untyped-call]
    return value


class _BernoulliLogLikelihood(torch.autograd.Function):
    """Written out because autograd would pass over the logits three times more; not differentiable in x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, logits: Tensor) -> Tensor:
        ctx.save_for_backward(x, logits)
        return torch.einsum("bd,kbd->kb", x, logits) - softplus(logits).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x, logits = ctx.saved_tensors
        return None, torch.sub(x, torch.sigmoid(logits)).mul_(gradient.unsqueeze(-1))


def tanh_layers(inputs: int, hidden: int, randomness: torch.Generator) -> nn.Sequential:
    """Two tanh layers, as everywhere in the paper."""
    return nn.Sequential(glorot(inputs, hidden, randomness), nn.Tanh(), glorot(hidden, hidden, randomness), nn.Tanh())


def glorot(inputs: int, outputs: int, randomness: torch.Generator) -> nn.Linear:
    """A linear map with Glorot uniform weights and zero bias (Glorot & Bengio 2010)."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=randomness)
    nn.init.zeros_(layer.bias)
    return layer


@MODELS.register("one_layer", label="one stochastic layer, 50 units", source="Burda et al. 2016, section 5")
def one_layer(pixel_means: Tensor, randomness: torch.Generator) -> OneLayer:
    """784-200-200-50-200-200-784, the paper's first network."""
    return OneLayer(pixel_means, randomness)
