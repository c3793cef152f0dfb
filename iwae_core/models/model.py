"""A latent-variable model: a generative chain p(x, h), a recognition chain q(h | x), draws along any gradient path."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iwae_core.bounds.weights import LogWeights, PerDatum, normalized_weights
from iwae_core.device import like
from iwae_core.draws import Draws, Path
from iwae_core.models.bernoulli import LogDensity
from iwae_core.models.factors import Bernoulli, Conditional, Derivative, Gaussian, StandardNormal, linear_layers
from iwae_core.models.fused import FusedNetworks
from iwae_core.models.networks import GaussianMLP
from iwae_core.registry import Registry

Layers = tuple[Float[Tensor, "k batch _"], ...]
Noise = Layers
Encoded = tuple[Tensor, ...]

# How log q depends on phi on the paths whose draws come from `Recognition.sample`.
DERIVATIVES: Mapping[Path, Derivative] = {
    "reparameterized": "total",
    "analytic_kl": "total",
    "stopped_q": "path",
    "score": "score",
    "sleep": "score",
}


class Recognition(nn.Module):
    """q(h | x) = q(h^1 | x) q(h^2 | h^1) ...; calling it gives log q(h | x), `[k, batch]`, at any h."""

    def __init__(self, layers: Sequence[Conditional]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.chain = nn.ModuleList(layers)  # what torch looks for parameters in

    def forward(self, x: Tensor, h: Layers) -> LogDensity:
        """log q(h | x), differentiable in phi and, if continuous, in every h."""
        return _total(layer(*pair) for layer, *pair in zip(self.layers, h, (x, *h[:-1]), strict=True))

    def sample(
        self, x: Tensor, noise: Noise, derivative: Derivative = "total", encoded: Encoded | None = None
    ) -> tuple[Layers, LogDensity]:
        """h made from noise, and log q(h | x); see `Conditional.sample`. `encoded` is `encode(x)`, if known already."""
        h: list[Tensor] = []
        log_q, given = [], x
        for layer, layer_noise in zip(self.layers, noise, strict=True):
            given, log_density = layer.sample(given, layer_noise, derivative, None if h else encoded)
            h.append(given)
            log_q.append(log_density)
        return tuple(h), _total(log_q)


class Generative(nn.Module):
    """p(x, h) = p(h^L) ... p(h^1 | h^2) p(x | h^1); calling it gives log p(x, h), `[k, batch]`.

    `layers` begin with the prior and end with the observation.
    """

    def __init__(self, layers: Sequence[Conditional]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.chain = nn.ModuleList(layers)  # what torch looks for parameters in

    def forward(self, x: Tensor, h: Layers) -> LogDensity:
        """log p(x, h), differentiable in theta and, if continuous, in every h.

        Raises:
            ValueError: x is nothing that the model is a distribution of, such as grey values for Bernoulli pixels.
        """
        self.layers[-1].require(x)
        down = tuple(reversed(h))
        return _total(layer(*pair) for layer, *pair in zip(self.layers, (*down, x), (None, *down), strict=True))

    def sample(self, k: int, batch: int, randomness: torch.Generator) -> tuple[Tensor, Layers]:
        """Ancestral samples: x, `[k, batch, pixels]`, and the h behind it, nearest to x first."""
        down: list[Tensor] = []
        for layer in self.layers:
            noise = layer.noise(k, batch, randomness).to(like(self))
            value, _ = layer.sample(down[-1] if down else None, noise)
            down.append(value)
        *h, x = down
        return x, tuple(reversed(h))

    def mean(self, h: Layers) -> Tensor:
        """The mean of x given h: the probability of each pixel being on."""
        mean: Tensor = self.layers[-1].mean(h[0])
        return mean


class Model(nn.Module):
    """p(x, h) with parameters theta (`generative`), and q(h | x) with parameters phi (`recognition`).

    `like` is one of them: of their dtype, on their device.
    """

    like: Tensor

    def __init__(self, generative: Generative, recognition: Recognition) -> None:
        super().__init__()
        self.recognition = recognition
        self.generative = generative
        self.fused = self._fused()
        self.__dict__["like"] = like(self)  # not registered as one more parameter

    @property
    def theta(self) -> list[nn.Parameter]:
        """The trainable parameters of the generative network."""
        return [parameter for parameter in self.generative.parameters() if parameter.requires_grad]

    @property
    def phi(self) -> list[nn.Parameter]:
        """The trainable parameters of the recognition network."""
        return [parameter for parameter in self.recognition.parameters() if parameter.requires_grad]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The gradient paths this model offers, the cheapest way of drawing first."""
        if not all(layer.reparameterized for layer in self.recognition.layers):
            return DISCRETE
        return SEVERAL_LAYERS if self._standard_normal_pair() is None else ONE_GAUSSIAN_LAYER

    def noise(self, k: int, batch: int, randomness: torch.Generator) -> Noise:
        """The parameter-free randomness of `draw`, one `[k, batch, units]` tensor for each stochastic layer."""
        return tuple(layer.noise(k, batch, randomness).to(self.like) for layer in self.recognition.layers)

    def encode(self, x: Tensor) -> Encoded:
        """What the first layer of q makes of x, `[batch, units]` each: all of log w that needs no sample."""
        return tuple(part.expand(len(x), -1) for part in self.recognition.layers[0].output(x))

    def draw(
        self,
        x: Tensor,
        noise: Noise,
        path: Path | None = None,
        randomness: torch.Generator | None = None,
        encoded: Encoded | None = None,
    ) -> Draws:
        """k samples of h ~ q(h | x) for each datum, a function of x, noise and the parameters, for one gradient path.

        Without a path the cheapest. Paths "one_sample" and "sleep" draw once more, from `randomness`. `encoded` is
        `encode(x)`, if that is known already; derivatives then go to it.

        Raises:
            ValueError: a path that this model does not offer, or one that draws once more without `randomness`; grey
                values for Bernoulli pixels.
        """
        path = path or self.paths[0]
        if path not in self.paths:
            raise ValueError(f"this model offers no path {path!r}; choose from {', '.join(self.paths)}")
        if path in ("one_sample", "sleep") and randomness is None:
            raise ValueError(f"path {path!r} draws once more and needs a generator as `randomness`")
        if path == "one_sample":
            return self.keep_one(x, noise, torch.rand(len(x), generator=randomness).to(x.device), encoded)
        if path == "reparameterized" and encoded is None and self.fused and torch.is_grad_enabled():
            self.generative.layers[-1].require(x)
            h_alone, log_p, log_q = self.fused.draw(x, noise[0])
            return Draws(path, (h_alone,), log_p, log_q)
        h, log_q = self.recognition.sample(x, noise, DERIVATIVES[path], encoded)
        draws = Draws(path, h, self.generative(x, h), log_q)
        if path == "analytic_kl":
            return replace(draws, kl_error=log_q - self.generative.layers[0](*h, None) - self.kl(x, encoded))
        if path == "sleep" and randomness is not None:
            return replace(draws, dream_log_q=self.dream(len(log_q), len(x), randomness))
        return draws

    def keep_one(self, x: Tensor, noise: Noise, uniform: PerDatum, encoded: Encoded | None = None) -> Draws:
        """k weights without derivatives, then one sample drawn by normalised weight and made again with derivatives.

        k forward passes and one backward pass instead of k. Source: Burda et al. 2016, end of section 3.1.
        """
        with torch.no_grad():
            draws = self.draw(x, noise, encoded=encoded)
            chosen = (normalized_weights(draws.log_weights).cumsum(0) < uniform).sum(0).clamp(max=len(noise[0]) - 1)
        kept = tuple(layer.gather(0, chosen[None, :, None].expand(1, -1, layer.shape[-1])) for layer in noise)
        return replace(draws, path="one_sample", kept=self.draw(x, kept, encoded=encoded).log_weights[0])

    def dream(self, k: int, batch: int, randomness: torch.Generator) -> LogWeights:
        """log q(h' | x') of dreams (x', h') ~ p(x, h), which are constants: the sleep phase (Hinton et al. 1995)."""
        with torch.no_grad():
            x, h = self.generative.sample(k, batch, randomness)
        log_q: Tensor = self.recognition(x, h)
        return log_q

    def kl(self, x: Tensor, encoded: Encoded | None = None) -> PerDatum:
        """KL(q(h | x) || N(0, I)) in closed form, for one Gaussian layer under a standard normal prior.

        Raises:
            ValueError: any other model.
        """
        q = self._standard_normal_pair()
        if q is None:
            raise ValueError(
                "KL(q || prior) is known in closed form for one Gaussian layer and a standard normal prior"
            )
        mean, log_scale = self.encode(x) if encoded is None else encoded
        kl: Tensor = (0.5 * (mean.square() + torch.exp(2 * log_scale) - 1) - log_scale).sum(-1)
        return kl

    def sample_prior(self, images: int, randomness: torch.Generator) -> Float[Tensor, "images pixels"]:
        """The mean of x given h ~ p(h)."""
        _, h = self.generative.sample(1, images, randomness)
        return self.generative.mean(h)[0]

    def reconstruct(
        self, x: Float[Tensor, "batch pixels"], randomness: torch.Generator
    ) -> Float[Tensor, "batch pixels"]:
        """The mean of x given one h ~ q(h | x)."""
        h, _ = self.recognition.sample(x, self.noise(1, len(x), randomness))
        return self.generative.mean(h)[0]

    def _standard_normal_pair(self) -> Gaussian | None:
        """q if it is one Gaussian layer and its prior standard normal."""
        q, *more = self.recognition.layers
        simple = not more and isinstance(self.generative.layers[0], StandardNormal)
        return q if simple and isinstance(q, Gaussian) else None

    def _fused(self) -> FusedNetworks | None:
        """Both networks as one, if the model is what `FusedNetworks` computes."""
        q, pixels = self._standard_normal_pair(), self.generative.layers[-1]
        if q is None or not isinstance(q.network, GaussianMLP) or not isinstance(pixels, Bernoulli):
            return None
        of_p = linear_layers(pixels.network)
        return FusedNetworks(q.network.linear_layers(), of_p) if of_p and len(self.generative.layers) == 2 else None


def _total(terms: Iterable[Tensor]) -> Tensor:
    return reduce(add, terms)


DISCRETE: tuple[Path, ...] = ("score", "sleep")
SEVERAL_LAYERS: tuple[Path, ...] = ("reparameterized", "stopped_q", "one_sample", *DISCRETE)
ONE_GAUSSIAN_LAYER: tuple[Path, ...] = (*SEVERAL_LAYERS, "analytic_kl")


@dataclass(frozen=True)
class Architecture:
    """A function that builds a model, from the mean of each pixel in the training data and the generator of its
    initial weights. `paths` are the gradient paths of what it builds.
    """

    build: Callable[[Tensor, torch.Generator], Model]
    label: str
    source: str
    paths: tuple[Path, ...]

    def __call__(self, pixel_means: Tensor, randomness: torch.Generator) -> Model:
        """A new model."""
        return self.build(pixel_means, randomness)


MODELS: Registry[Architecture] = Registry("model", Architecture)
