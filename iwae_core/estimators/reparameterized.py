"""Estimators that differentiate the bound itself, through reparameterised samples: theta and phi climb together."""

from typing import cast

import torch
from torch import Tensor

from iwae_core.bounds.lower import ciwae_bound, elbo, iwae_bound, miwae_bound, renyi_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators.estimator import Surrogate, Target, both, estimator


@estimator(
    "vae",
    label="VAE",
    path="reparameterized",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k \nabla \log w_i",
    source="Kingma & Welling 2014; Burda et al. 2016, eq. 7",
    weights=lambda log_weights: torch.full_like(log_weights, 1 / len(log_weights)),
    instead="reinforce_loo",
)
def vae(draws: Draws) -> Surrogate:
    """Every sample pulls with the same weight 1/k. Unbiased for the gradient of L_1 at any k."""
    return both(elbo(draws.log_weights))


@estimator(
    "vae_analytic_kl",
    label="VAE, exact KL",
    path="analytic_kl",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k \nabla \log p(x \mid h_i) - \nabla \mathrm{KL}(q \,\|\, p(h))",
    source="Kingma & Welling 2014",
    instead="vae",
)
def vae_analytic_kl(draws: Draws) -> Surrogate:
    """The sampled log q / p(h) is replaced by its expectation. Only the ELBO splits like this, so only at L_1."""
    return both(elbo(draws.log_weights + cast(Tensor, draws.kl_error)))


@estimator(
    "iwae",
    label="IWAE",
    path="reparameterized",
    theta=Target.L_K,
    equation=r"\sum_{i=1}^k \tilde w_i \nabla \log w_i",
    source="Burda et al. 2016, eq. 13-14",
    weights=normalized_weights,
    instead="vimco",
    c=0.2,
)
def iwae(draws: Draws) -> Surrogate:
    """Sample i pulls with its normalised weight w~_i, the derivative of the log of the average. Unbiased for L_k."""
    return both(iwae_bound(draws.log_weights))


@estimator(
    "iwae_one_sample",
    label="IWAE, one sample",
    path="one_sample",
    theta=Target.L_K,
    equation=r"\nabla \log w_I, \quad I \sim \mathrm{Cat}(\tilde w)",
    source="Burda et al. 2016, section 3.1",
    instead="vimco",
)
def iwae_one_sample(draws: Draws) -> Surrogate:
    """k forward passes, one backward: the weighted sum is itself sampled. The extra variance does not fall with k."""
    return both(cast(Tensor, draws.kept))


@estimator(
    "renyi",
    label="Rényi",
    path="reparameterized",
    theta=Target.RENYI,
    equation=r"\sum_{i=1}^k \frac{w_i^{1-\alpha}}{\sum_j w_j^{1-\alpha}} \nabla \log w_i",
    source="Li & Turner 2016",
    instead="vimco",
    c=0.15,
)
def renyi(draws: Draws, alpha: int | float = 0.5) -> Surrogate:
    """Between the ELBO (alpha = 1), IWAE (alpha = 0) and the largest weight alone (alpha = -inf)."""
    return both(renyi_bound(draws.log_weights, alpha))


@estimator(
    "ciwae",
    label="CIWAE",
    path="reparameterized",
    theta=Target.MIXED,
    equation=r"\sum_{i=1}^k \left(\frac{\beta}{k} + (1 - \beta) \tilde w_i\right) \nabla \log w_i",
    source="Rainforth et al. 2018",
    instead="vimco",
    c=0.2,
)
def ciwae(draws: Draws, beta: int | float = 0.5) -> Surrogate:
    """A convex combination of both bounds, so that the encoder keeps a signal."""
    return both(ciwae_bound(draws.log_weights, beta))


@estimator(
    "miwae",
    label="MIWAE",
    path="reparameterized",
    theta=Target.L_GROUP,
    equation=r"\frac1M \sum_{m=1}^M \sum_{i=1}^{k/M} \tilde w_{m,i} \nabla \log w_{m,i}",
    source="Rainforth et al. 2018",
    instead="vimco",
    c=0.2,
)
def miwae(draws: Draws, repeats: int | None = None) -> Surrogate:
    """M repeats of IWAE with k/M samples each: a looser bound, a better signal for the encoder."""
    return both(miwae_bound(draws.log_weights, repeats))


@estimator(
    "piwae",
    label="PIWAE",
    path="reparameterized",
    theta=Target.L_K,
    phi=Target.L_GROUP,
    equation=r"\theta: \text{IWAE}(k), \quad \phi: \text{MIWAE}(M, k/M)",
    source="Rainforth et al. 2018",
    instead="vimco",
    c=0.2,
)
def piwae(draws: Draws, repeats: int | None = None) -> Surrogate:
    """The decoder climbs the tight bound, the encoder the one with the better signal, on the same samples."""
    return Surrogate(theta=iwae_bound(draws.log_weights), phi=miwae_bound(draws.log_weights, repeats))
