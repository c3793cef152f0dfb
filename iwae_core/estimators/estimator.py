"""What a gradient estimator is: one set of draws in, what is to be maximised for theta and for phi out."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from iwae_core.bounds.weights import LogWeights, PerDatum
from iwae_core.draws import Cotangents, Draws, Path
from iwae_core.registry import Registry


class Surrogate(NamedTuple):
    """Per-datum values to maximise with respect to theta and to phi; the same tensor means one backward pass.

    The derivative of a surrogate is the estimate; its value need not be the bound, so it is never displayed.
    """

    theta: PerDatum
    phi: PerDatum


def both(value: PerDatum) -> Surrogate:
    """One surrogate for theta and phi."""
    return Surrogate(value, value)


def accumulate_gradient(
    surrogate: Surrogate, theta: Sequence[Tensor], phi: Sequence[Tensor], scale: float = 1.0
) -> None:
    """Add minus the gradients of the surrogates, summed over data and scaled, to the parameters' `grad`.

    Minus, because optimisers descend. Each surrogate reaches its own parameters only; either list may be empty.
    """
    shared = surrogate.theta is surrogate.phi
    for value, inputs in zip(surrogate, ([*theta, *phi], []) if shared else (theta, phi), strict=True):
        if inputs:
            (-scale * value.sum()).backward(inputs=list(inputs), retain_graph=not shared)


class Target(StrEnum):
    """What a gradient climbs: a bound on log p(x), or minus a divergence."""

    L_1 = "L_1"
    L_K = "L_k"
    L_GROUP = "L_(k/M)"
    RENYI = "L_α,k"
    MIXED = "β L_1 + (1 − β) L_k"
    TVO = "TVO"
    WAKE = "−KL(p ‖ q)"
    SLEEP = "−E_p KL(p ‖ q)"


@dataclass(frozen=True)
class Estimator:
    """A surrogate, and what is known about the gradient it gives.

    `equation` is that gradient in LaTeX, `path` says how the draws it needs depend on phi, and `least_k` how many
    samples there must be. `theta` and `phi` name what each part climbs, `unbiased` the parts whose mean is exactly that
    gradient, and `bias` how far off the others are. `instead` is the estimator to turn to where this one cannot be
    used. `weights` may say what multiplies the gradient of each log w_i, which saves `cotangents` an automatic
    derivative. `c` says how much a backward pass through the rows that count may leave out, see `counting`: 0, nothing,
    where all samples pull alike.
    """

    surrogate: Callable[..., Surrogate]
    label: str
    path: Path
    theta: Target
    phi: Target
    equation: str
    source: str
    unbiased: tuple[Literal["theta", "phi"], ...] = ("theta", "phi")
    bias: str = ""
    least_k: int = 1
    c: float = 0.0
    instead: str = ""
    weights: Callable[[LogWeights], LogWeights] | None = None

    def __call__(self, draws: Draws, **settings: Any) -> Surrogate:
        """The surrogates of these draws.

        Raises:
            ValueError: draws made on another path; their derivatives would be those of another estimator.
        """
        if draws.path != self.path:
            raise ValueError(f"this estimator needs draws on the path {self.path!r}; got {draws.path!r}")
        return self.surrogate(draws, **settings)

    def cotangents(self, draws: Draws, scale: float, settings: Mapping[str, Any]) -> Cotangents:
        """The derivatives of the surrogates, scaled: theta's in log p, phi's in log p, and phi's in log q."""
        if self.weights is not None:
            pull = (self.weights(draws.log_weights) * scale).to(draws.log_p.dtype)
            return Cotangents(pull, pull, -pull)
        log_p, log_q = (values.detach().requires_grad_() for values in (draws.log_p, draws.log_q))
        with torch.enable_grad():
            theta, phi = self(replace(draws, log_p=log_p, log_q=log_q), **settings)
        factor = torch.full_like(phi, scale)
        of_p, of_q = torch.autograd.grad(phi, (log_p, log_q), factor, retain_graph=True)
        if theta is phi:
            return Cotangents(of_p, of_p, of_q)
        (of_theta,) = torch.autograd.grad(theta, (log_p,), factor)
        return Cotangents(of_theta, of_p, of_q)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The estimator's own settings and their defaults."""
        _, *parameters = inspect.signature(self.surrogate).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters}


class UnsupportedError(ValueError):
    """An estimator that cannot be used here: what it needs, and the name of one that can be used instead."""

    def __init__(self, name: str, needs: str, instead: str) -> None:
        super().__init__(f"{name} needs {needs}. Use estimator={instead!r} ({ESTIMATORS[instead].label})")
        self.name, self.needs, self.instead = name, needs, instead


ESTIMATORS: Registry[Estimator] = Registry("estimator", Estimator)
NEEDS: Mapping[Path, str] = {
    "reparameterized": "continuous, reparameterised latent variables",
    "stopped_q": "continuous, reparameterised latent variables",
    "one_sample": "continuous, reparameterised latent variables",
    "analytic_kl": "KL(q || prior) in closed form: one Gaussian layer under a standard normal prior",
    "score": "log q and log p at a given h",
    "sleep": "a model that can be sampled",
}


def estimator(name: str, **facts: Any) -> Callable[[Callable[..., Surrogate]], Estimator]:
    """Register a surrogate function as an `Estimator` with these facts; unless said, phi climbs what theta climbs."""

    def decorate(surrogate: Callable[..., Surrogate]) -> Estimator:
        ESTIMATORS.register(name, **{"phi": facts["theta"]} | facts)(surrogate)
        return ESTIMATORS[name]

    return decorate


def require(name: str, k: int, paths: Sequence[Path]) -> Estimator:
    """The estimator, if it can be used with k samples and the gradient paths a model offers.

    Raises:
        UnsupportedError: it cannot; the message says what it needs and which estimator to use instead.
    """
    found = ESTIMATORS[name]
    problem = _problem(found, k, paths)
    if problem:
        instead = found
        while instead.instead and _problem(instead, k, paths):
            name_instead, instead = instead.instead, ESTIMATORS[instead.instead]
        raise UnsupportedError(name, problem, name_instead)
    return found


def _problem(estimator: Estimator, k: int, paths: Sequence[Path]) -> str:
    if estimator.path not in paths:
        return f"{NEEDS[estimator.path]}, which this model does not offer"
    if k < estimator.least_k:
        return f"k >= {estimator.least_k} (it compares each sample with the others); got k = {k}"
    return ""
