"""Linear Gaussian models: probabilistic PCA with a recognition network, whose log p(x) is known in closed form.

Pixels are taken as real numbers, so log p(x) is a density and may be positive.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.weights import PerDatum
from iwae_core.models.factors import HALF_LOG_2PI, Gaussian, StandardNormal
from iwae_core.models.model import MODELS, ONE_GAUSSIAN_LAYER, Generative, Model, Recognition
from iwae_core.models.networks import Affine, glorot

SOURCE = "Tipping & Bishop 1999"


def linear_gaussian(pixel_means: Tensor, randomness: torch.Generator, units: int) -> Model:
    """h ~ N(0, I), x | h ~ N(W h + b, s^2 I) and q(h | x) = N(A x + c, diag sigma^2).

    The posterior is N(m(x), M^-1) with m affine in x: q can be the posterior exactly where M is diagonal, that is where
    the columns of W are orthogonal, as in principal components. b starts at the pixel means, s^2 at their variance.
    """
    pixels = len(pixel_means)
    variance = (pixel_means * (1 - pixel_means)).mean()
    down = Affine(glorot(units, pixels, randomness).weight.detach(), pixel_means.clone(), 0.5 * variance.log())
    up = Affine(glorot(pixels, units, randomness).weight.detach(), torch.zeros(units), torch.zeros(units))
    return Model(Generative([StandardNormal(units), Gaussian(pixels, down)]), Recognition([Gaussian(units, up)]))


@MODELS.register("linear", label="linear Gaussian, 50 units", source=SOURCE, paths=ONE_GAUSSIAN_LAYER)
def linear(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-50: as many latent variables as the paper's first network, and log p(x) known."""
    return linear_gaussian(pixel_means, randomness, units=50)


@MODELS.register("linear_2d", label="linear Gaussian, 2 units", source=SOURCE, paths=ONE_GAUSSIAN_LAYER)
def linear_2d(pixel_means: Tensor, randomness: torch.Generator) -> Model:
    """784-2: a latent plane with an elliptic posterior."""
    return linear_gaussian(pixel_means, randomness, units=2)


class ClosedForm(NamedTuple):
    """log p(x) in nats, and the posterior N(mean, covariance), the same covariance for every x; float64."""

    log_p: PerDatum
    mean: Float[Tensor, "batch units"]
    covariance: Float[Tensor, "units units"]


@torch.no_grad()
def closed_form(model: Model, x: Float[Tensor, "batch pixels"]) -> ClosedForm | None:
    """What is known in closed form about a linear Gaussian model; None for any other model.

    With M = I + W'W / s^2 and d = x - b: the posterior is N(M^-1 W'd / s^2, M^-1), and
    log p(x) = log N(d; 0, W W' + s^2 I) costs one factorisation of M, as large as h and not as x (Woodbury).
    """
    prior, pixels, *more = model.generative.layers
    affine = pixels.network if isinstance(pixels, Gaussian) else None
    if more or not isinstance(prior, StandardNormal) or not isinstance(affine, Affine) or affine.log_scale.dim():
        return None
    weight, bias, log_scale = (value.double() for value in (affine.weight, affine.bias, affine.log_scale))
    precision = torch.exp(-2 * log_scale)
    factor = torch.linalg.cholesky(torch.eye(weight.shape[1], dtype=torch.float64) + precision * weight.T @ weight)
    difference = x.double() - bias
    projected = precision * difference @ weight
    mean = torch.cholesky_solve(projected.T, factor).T
    distance = precision * difference.square().sum(-1) - (projected * mean).sum(-1)
    log_volume = factor.diagonal().log().sum() + pixels.units * (log_scale + HALF_LOG_2PI)
    return ClosedForm(-0.5 * distance - log_volume, mean, torch.cholesky_inverse(factor))
