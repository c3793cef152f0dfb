"""Gradient estimators: each maps one set of draws to what is to be maximised, for theta and for phi.

The derivative of a surrogate is the estimate; its value need not be the bound, so it is never displayed.
"""

from collections.abc import Callable
from typing import NamedTuple

from iwae_core.bounds import PerDatum, elbo, iwae_bound
from iwae_core.draws import Draws
from iwae_core.registry import Registry


class Surrogate(NamedTuple):
    """Per-datum values to maximise with respect to theta and to phi; the same tensor means one backward pass."""

    theta: PerDatum
    phi: PerDatum


Estimator = Callable[[Draws], Surrogate]
ESTIMATORS: Registry[Estimator] = Registry("estimator")


@ESTIMATORS.register(
    "vae",
    label="VAE",
    target="L_1",
    equation=r"\frac1k \sum_{i=1}^k \nabla \log w_i",
    source="Kingma & Welling 2014; Burda et al. 2016, eq. 7",
)
def vae(draws: Draws) -> Surrogate:
    """Every sample pulls with the same weight 1/k. Unbiased for the gradient of L_1 at any k."""
    bound = elbo(draws.log_weights)
    return Surrogate(theta=bound, phi=bound)


@ESTIMATORS.register(
    "iwae",
    label="IWAE",
    target="L_k",
    equation=r"\sum_{i=1}^k \tilde w_i \nabla \log w_i",
    source="Burda et al. 2016, eq. 13-14",
)
def iwae(draws: Draws) -> Surrogate:
    """Sample i pulls with its normalised weight w~_i, the derivative of the log of the average. Unbiased for L_k."""
    bound = iwae_bound(draws.log_weights)
    return Surrogate(theta=bound, phi=bound)
