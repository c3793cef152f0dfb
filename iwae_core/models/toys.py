"""Small models whose log p(x) is known exactly, each with an observation: the ground truth behind tests and lessons.

In float64. Their parameters are ordinary ones, so they can also be trained.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from iwae_core.bounds.weights import PerDatum
from iwae_core.models.factors import Bernoulli, Gaussian, StandardNormal
from iwae_core.models.model import Generative, Model, Recognition
from iwae_core.models.networks import Affine, Free, FreeLogits
from iwae_core.registry import Registry


class Toy(NamedTuple):
    """A model, an observation `[1, pixels]`, and log p(x) of any observations, differentiable in theta."""

    model: Model
    x: Tensor
    log_evidence: Callable[[Tensor], PerDatum]


@dataclass(frozen=True)
class ToyMaker:
    """A function that makes a toy, whose parameters have defaults."""

    make: Callable[..., Toy]
    label: str

    def __call__(self, **parameters: Any) -> Toy:
        """The toy with these parameters."""
        return self.make(**parameters)


TOYS: Registry[ToyMaker] = Registry("toy", ToyMaker)


@TOYS.register("linear_gaussian", label="probabilistic PCA: three pixels, two latent variables")
def linear_gaussian(mean: Sequence[float] = (0.0, 0.0), variance: Sequence[float] = (1.0, 1.0)) -> Toy:
    """h ~ N(0, I), x | h ~ N(W h + b, s^2 I), q = N(mean, diag variance), so p(x) = N(b, W W' + s^2 I).

    Source: Tipping & Bishop 1999.
    """
    observation = Affine(
        _tensor([[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2]]), _tensor([0.1, -0.2, 0.3]), 0.5 * _tensor(0.5).log()
    )
    return _affine(observation, Free(_tensor(mean), 0.5 * _tensor(variance).log()), _tensor([[1.0, -0.5, 0.7]]))


@TOYS.register("line", label="one pixel, one latent variable")
def line(mean: float = 0.3, scale: float = 0.8) -> Toy:
    """h ~ N(0, 1), x | h ~ N(a h + b, s^2), q = N(mean, scale^2): every gradient is a plain number."""
    observation = Affine(_tensor([[1.3]]), _tensor([0.0]), 0.5 * _tensor(0.5).log())
    return _affine(observation, Free(_tensor([mean]), _tensor([scale]).log()), _tensor([[1.2]]))


@TOYS.register("gaussian_mismatch", label="Gaussian posterior, Gaussian q of another width")
def gaussian_mismatch(ratio: float = 1.5, shift: float = 0.0, dims: int = 1) -> Toy:
    """p(h | x) = N(0, I) and q = N((shift, 0, ...), ratio I), with log p(x) = 0: x has no pixels at all.

    ratio is the variance of q over that of the posterior; chi^2(p || q) is infinite at 1/2 and below.
    """
    mean = torch.zeros(dims, dtype=torch.float64)
    mean[0] = shift
    q = Free(mean, torch.full((dims,), 0.5 * math.log(ratio), dtype=torch.float64))
    nothing = torch.zeros(0, dtype=torch.float64)
    generative = Generative([StandardNormal(dims), Gaussian(0, Free(nothing, nothing.clone()))])
    return Toy(
        Model(generative, Recognition([Gaussian(dims, q)])), nothing[None], lambda x: torch.zeros(len(x)).double()
    )


@TOYS.register("bimodal", label="posterior with two modes, q with one")
def bimodal(mean: float = 1.33, scale: float = 0.188) -> Toy:
    """h ~ N(0, 1), x | h ~ N(a h^2, s^2), q = N(mean, scale^2): at x = 2 the posterior has modes near -1.33 and 1.33.

    log p(x) by the trapezoid rule on a grid so fine that it is exact to rounding.
    """
    generative = Generative([StandardNormal(1), Gaussian(1, Parabola(1.0, 0.5))])
    grid = torch.linspace(-12, 12, 4801, dtype=torch.float64)[:, None, None]

    def log_evidence(x: Tensor) -> Tensor:
        log_joint = generative(x, (grid.expand(-1, len(x), -1),))
        return torch.logsumexp(log_joint, 0) + math.log(24 / 4800)

    q = Free(_tensor([mean]), _tensor([scale]).log())
    return Toy(Model(generative, Recognition([Gaussian(1, q)])), _tensor([[2.0]]), log_evidence)


@TOYS.register("enumerable", label="three binary pixels, two binary latent variables")
def enumerable() -> Toy:
    """A sigmoid belief network so small that everything about it follows from summing over its four states."""
    prior = Bernoulli(2, FreeLogits(_tensor([0.2, -0.5])))
    pixels = Bernoulli(3, _linear([[1.0, -2.0], [0.5, 1.5], [-1.0, 0.7]], [0.1, -0.3, 0.2]))
    q = Bernoulli(2, _linear([[0.4, -0.6, 0.3], [-0.8, 0.2, 0.5]], [-0.4, -0.1]))
    generative = Generative([prior, pixels])
    states = torch.cartesian_prod(_tensor([0.0, 1.0]), _tensor([0.0, 1.0]))[:, None]

    def log_evidence(x: Tensor) -> Tensor:
        return torch.logsumexp(generative(x, (states.expand(-1, len(x), -1),)), 0)

    return Toy(Model(generative, Recognition([q])), _tensor([[1.0, 0.0, 1.0]]), log_evidence)


@TOYS.register("rainforth", label="Gaussian of any dimension, amortised q near its optimum")
def rainforth(dims: int = 20, variance: float = 2 / 3, perturbation: float = 0.01, seed: int = 0) -> Toy:
    """h ~ N(mu, I), x | h ~ N(h, I), q = N(A x + b, variance I); theta = mu, phi = (A, b), all the rest is fixed.

    mu is drawn from N(0, I) and x from the model; A = I/2 and b = mu/2, where q has the posterior's mean, are perturbed
    by N(0, perturbation^2), as is mu afterwards. The posterior has variance 1/2. Source: Rainforth et al. 2018, 4.1.
    """
    randomness = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=randomness)

    centre, identity = normal(dims), torch.eye(dims, dtype=torch.float64)
    x = centre + math.sqrt(2) * normal(1, dims)
    prior = Free(centre + perturbation * normal(dims), torch.zeros(dims, dtype=torch.float64))
    q = Affine(
        identity / 2 + perturbation * normal(dims, dims),
        centre / 2 + perturbation * normal(dims),
        _tensor(0.5 * math.log(variance)),
    )
    pixels = Affine(identity, torch.zeros(dims, dtype=torch.float64), _tensor(0.0)).requires_grad_(False)
    for fixed in (prior.log_scale, q.log_scale):
        fixed.requires_grad_(False)
    model = Model(Generative([Gaussian(dims, prior), Gaussian(dims, pixels)]), Recognition([Gaussian(dims, q)]))
    return Toy(model, x, lambda x: MultivariateNormal(prior.mean, 2 * identity).log_prob(x))


class Parabola(nn.Module):
    """mu = a h^2, and one log sigma."""

    def __init__(self, slope: float, scale: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(_tensor(slope))
        self.log_scale = nn.Parameter(_tensor(scale).log())

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """mu and log sigma."""
        return self.slope * h.square(), self.log_scale.expand(h.shape)


def _affine(observation: Affine, q: Free, x: Tensor) -> Toy:
    dims, pixels = len(q.mean), x.shape[-1]
    generative = Generative([StandardNormal(dims), Gaussian(pixels, observation)])

    def log_evidence(x: Tensor) -> Tensor:
        noise = torch.exp(2 * observation.log_scale) * torch.eye(pixels, dtype=torch.float64)
        covariance = observation.weight @ observation.weight.T + noise
        log_p: Tensor = MultivariateNormal(observation.bias, covariance).log_prob(x)
        return log_p

    return Toy(Model(generative, Recognition([Gaussian(dims, q)])), x, log_evidence)


def _linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(bias), dtype=torch.float64)
    layer.load_state_dict({"weight": _tensor(weight), "bias": _tensor(bias)})
    return layer


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
