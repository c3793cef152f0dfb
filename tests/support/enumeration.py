"""Exact expectations over the k samples of a small model: the production code at every tuple of nodes, weighed.

The nodes are all states of a discrete model, or a grid of the noise of a continuous one. On a grid this is the
trapezoid rule, exact to many digits for these smooth integrands.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from iwae_core.estimators import Estimator, Surrogate
from iwae_core.models import Model, Noise
from iwae_core.models.burda import gaussian_mlp
from iwae_core.models.sigmoid_belief import sigmoid_belief
from iwae_core.models.toys import bimodal, enumerable, gaussian_mismatch, line, linear_gaussian, rainforth

Gradient = list[Tensor]
BASELINE = 1.7  # any constant; it must not matter on average


class Tuples(NamedTuple):
    """The noise of every k-tuple of nodes, `[k, tuples, units]` for each layer, and the probability of each tuple."""

    x: Tensor
    noise: Noise
    prob: Tensor


def discrete(model: Model) -> bool:
    return "reparameterized" not in model.paths


def tuples(model: Model, x: Tensor, k: int, spacing: float = 0.125, reach: float = 7.0) -> Tuples:
    units = [layer.units for layer in model.recognition.layers]
    # The smallest uniform number gives a binary unit 1 whatever its logit, the largest gives 0.
    axis = torch.tensor([1.0, 0.0]) if discrete(model) else torch.arange(-reach, reach + spacing / 2, spacing)
    grid = torch.cartesian_prod(*[axis.double()] * sum(units)).reshape(-1, sum(units))
    index = torch.cartesian_prod(*[torch.arange(len(grid))] * k).reshape(-1, k).T
    noise = tuple(layer[index] for layer in grid.split(units, -1))
    many = x.expand(index.shape[1], -1)
    if discrete(model):
        with torch.no_grad():
            return Tuples(many, noise, model.draw(many, noise).log_q.sum(0).exp())
    return Tuples(many, noise, torch.log_softmax(-0.5 * grid.square().sum(-1), 0)[index].sum(0).exp())


def surrogates(
    estimator: Estimator, model: Model, every: Tuples, **settings: object
) -> Iterator[tuple[Surrogate, Tensor]]:
    """The estimator's surrogates at every tuple with their probabilities; k times if it keeps one sample of k."""
    x, noise, prob = every
    if estimator.path == "one_sample":
        with torch.no_grad():
            weights = torch.softmax(model.draw(x, noise).log_weights, 0)
        for i, middle in enumerate(weights.cumsum(0) - weights / 2):
            yield estimator(model.keep_one(x, noise, middle), **settings), prob * weights[i]
    else:
        draws = model.draw(x, noise, estimator.path, torch.Generator().manual_seed(0))
        yield estimator(replace(draws, baseline=BASELINE), **settings), prob


def gradient(value: Tensor, parameters: Sequence[Tensor]) -> Gradient:
    if not (parameters and value.requires_grad):
        return [torch.zeros_like(parameter) for parameter in parameters]
    found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
    return list(found)


def plus(first: Gradient, second: Gradient) -> Gradient:
    return [a + b for a, b in zip(first, second, strict=True)]


def expected_gradient(
    estimator: Estimator, model: Model, every: Tuples, part: str, parameters: Sequence[Tensor], **settings: object
) -> Gradient:
    """The exact mean of the estimate; `part` is "theta" or "phi"."""
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for surrogate, prob in surrogates(estimator, model, every, **settings):
        total = plus(total, gradient((prob * getattr(surrogate, part)).sum(), parameters))
    return total


def variance(
    estimator: Estimator, model: Model, every: Tuples, part: str, parameters: Sequence[Tensor], **settings: object
) -> Gradient:
    """The exact variance of each coordinate of the estimate."""
    mean = expected_gradient(estimator, model, every, part, parameters, **settings)
    total = [-(value**2) for value in mean]
    for surrogate, prob in surrogates(estimator, model, every, **settings):
        for parameter, square in zip(parameters, total, strict=True):
            for index, found in each_gradient(getattr(surrogate, part), parameter, discrete(model)):
                square.view(-1)[index] += (prob * found.square()).sum()
    return total


def each_gradient(values: Tensor, parameter: Tensor, once: bool) -> Iterator[tuple[int, Tensor]]:
    """The derivatives of all `values [tuples]` in each coordinate of the parameter.

    grad(v . values) is linear in v; differentiating it again in v gives all of them at once. Where the model can be
    differentiated `once` only, one backward pass for each tuple.
    """
    if once:
        rows = torch.stack([gradient(value, [parameter])[0].flatten() for value in values])
        yield from enumerate(rows.T)
        return
    v = torch.zeros_like(values, requires_grad=True)
    (first,) = torch.autograd.grad(v @ values, [parameter], create_graph=True)
    for index, coordinate in enumerate(first.flatten()):
        yield index, gradient(coordinate, [v])[0]


def exact_mean(model: Model, every: Tuples, function: Callable[[Tensor], Tensor]) -> Tensor:
    """E function(log-weights), differentiable in theta and phi: a discrete state carries the derivative of its
    probability, a node of noise that of the value made from it.
    """
    x, noise, prob = every
    draws = model.draw(x, noise)
    return ((draws.log_q.sum(0).exp() if discrete(model) else prob) * function(draws.log_weights)).sum()


def assert_close(found: Gradient, wanted: Gradient, tolerance: float = 1e-8) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


PIXELS = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)


class Case(NamedTuple):
    """A model, an observation, and how fine a grid of its noise must be for the tolerance."""

    model: Model
    x: Tensor
    spacing: float = 0.125
    tolerance: float = 1e-7


def network(build: Callable[..., Model], **sizes: object) -> Model:
    model = build(torch.full((3,), 0.4), torch.Generator().manual_seed(3), **sizes).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.8)
    return model


CASES: dict[str, Callable[[], Case]] = {
    "line": lambda: Case(*line()[:2]),
    "gaussian_mismatch": lambda: Case(*gaussian_mismatch(1.5, 0.4)[:2]),
    "bimodal": lambda: Case(*bimodal()[:2]),
    "rainforth": lambda: Case(*rainforth(dims=1, perturbation=0.3)[:2]),
    "linear_gaussian": lambda: Case(*linear_gaussian((0.9, -0.2), (0.2, 0.2))[:2], spacing=0.6, tolerance=1e-3),
    "one_layer": lambda: Case(network(gaussian_mlp, units=(1,), hidden=(4,)), PIXELS),
    "two_layer": lambda: Case(network(gaussian_mlp, units=(1, 1), hidden=(4, 3)), PIXELS, 0.6, 1e-4),
    "enumerable": lambda: Case(*enumerable()[:2]),
    "sbn_2": lambda: Case(network(sigmoid_belief, units=(2, 1)), PIXELS),
    "sbn_3": lambda: Case(network(sigmoid_belief, units=(1, 1, 1)), PIXELS),
}


@cache
def case(name: str, k: int) -> tuple[Case, Tuples]:
    found = CASES[name]()
    return found, tuples(found.model, found.x, k, found.spacing, reach=7.0 if found.spacing < 0.5 else 5.4)
