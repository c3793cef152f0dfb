"""Estimators for any latent variables, discrete ones too: samples are constants, phi moves by the score s_i of q.

The variance is all in the factor before s_i, so each estimator subtracts from it what does not depend on sample i.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds.curves import leave_one_out
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import LogWeights
from iwae_core.draws import Draws
from iwae_core.estimators.estimator import Surrogate, Target, both, estimator


@estimator(
    "reinforce",
    label="REINFORCE",
    path="score",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k \log w_i \, s_i",
    source="Williams 1992; Paisley et al. 2012",
)
def reinforce(draws: Draws) -> Surrogate:
    """No baseline: the whole of log w, hundreds of nats on images, multiplies the score."""
    return _elbo_with_signal(draws, draws.log_weights.detach())


@estimator(
    "reinforce_running",
    label="REINFORCE, mean",
    path="score",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k (\log w_i - b) s_i, \quad b \text{ from earlier steps}",
    source="Williams 1992; Mnih & Gregor 2014",
)
def reinforce_running(draws: Draws) -> Surrogate:
    """The baseline is the mean log w of earlier minibatches, on which these samples do not depend."""
    return _elbo_with_signal(draws, draws.log_weights.detach() - draws.baseline)


@estimator(
    "reinforce_loo",
    label="REINFORCE, LOO",
    path="score",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k \Big(\log w_i - \frac1{k-1} \sum_{j \ne i} \log w_j\Big) s_i",
    source="Kool et al. 2019",
    least_k=2,
    instead="reinforce_running",
)
def reinforce_loo(draws: Draws) -> Surrogate:
    """Each sample's baseline is the mean log w of the other k - 1 samples of the same datum."""
    log_weights = draws.log_weights.detach()
    return _elbo_with_signal(draws, log_weights - _mean_of_others(log_weights))


@estimator(
    "reinforce_iwae",
    label="REINFORCE, Lₖ",
    path="score",
    theta=Target.L_K,
    equation=r"\sum_{i=1}^k (\hat L_k - \tilde w_i) s_i",
    source="Mnih & Rezende 2016",
    c=0.2,
)
def reinforce_iwae(draws: Draws) -> Surrogate:
    """No baseline: the variance grows with k. The term -w~_i s_i, from log q in the bound, has a mean: keep it."""
    bound = iwae_bound(draws.log_weights)
    return both(bound + bound.detach() * draws.log_q.sum(0))


@estimator(
    "vimco",
    label="VIMCO",
    path="score",
    theta=Target.L_K,
    equation=r"\sum_{i=1}^k (\hat L_k - \hat L_k^{(-i)} - \tilde w_i) s_i",
    source="Mnih & Rezende 2016",
    least_k=2,
    instead="reinforce_running",
    c=0.2,
)
def vimco(draws: Draws) -> Surrogate:
    """Sample i's baseline L^_k^(-i) is the bound L^_k with w_i replaced by the geometric mean of the other weights."""
    log_weights = draws.log_weights.detach()
    k = len(log_weights)
    others = leave_one_out(log_weights) + math.log(k - 1)
    return _iwae_with_baseline(draws, torch.logaddexp(others, _mean_of_others(log_weights)) - math.log(k))


@estimator(
    "vimco_arithmetic",
    label="VIMCO, arith.",
    path="score",
    theta=Target.L_K,
    equation=r"\sum_{i=1}^k \Big(\hat L_k - \log \tfrac1{k-1} \textstyle\sum_{j \ne i} w_j - \tilde w_i\Big) s_i",
    source="Mnih & Rezende 2016",
    least_k=2,
    instead="reinforce_running",
    c=0.15,
)
def vimco_arithmetic(draws: Draws) -> Surrogate:
    """With the arithmetic mean the baseline is simply the bound of the other k - 1 samples."""
    return _iwae_with_baseline(draws, leave_one_out(draws.log_weights.detach()))


@estimator(
    "tvo",
    label="TVO",
    path="score",
    theta=Target.TVO,
    unbiased=(),
    equation=r"\sum_n \Delta_n \left(E_{\pi_{\beta_n}} \nabla \log w"
    r" + \mathrm{Cov}_{\pi_{\beta_n}}(\nabla \log \tilde\pi_{\beta_n}, \log w)\right)",
    source="Masrani et al. 2019",
    bias="both by order 1/k",
    least_k=2,
    instead="reinforce_running",
    c=0.1,
)
def tvo(draws: Draws, beta: int | float = 0.2) -> Surrogate:
    """The left Riemann sum of the thermodynamic integral over 0, beta, 1: consistent in k, biased at each k.

    beta_n are its points, Delta_n the distances to the next, and pi_beta is q^(1 - beta) p(x, h)^beta, normalised;
    expectations and covariances under it are those of the samples weighted by w^beta.
    """
    return both(tvo_surrogate(draws, (0.0, beta, 1.0)))


def tvo_surrogate(draws: Draws, betas: Sequence[float]) -> Float[Tensor, " batch"]:
    """Its derivative is that of sum_n (b_(n+1) - b_n) E_b_n log w, with pi_b ~ q^(1-b) p(x, h)^b by weights w^b."""
    fixed = draws.log_weights.detach()
    k, total = len(fixed), []
    for beta, following in pairwise(betas):
        weights = torch.softmax(beta * fixed, 0)
        centred = fixed - (weights * fixed).sum(0)
        log_pi = beta * draws.log_p + (1 - beta) * draws.log_q
        term = weights * (draws.log_weights + k / (k - 1) * centred * log_pi)
        total.append((following - beta) * term.sum(0))
    return torch.stack(total).sum(0)


def _elbo_with_signal(draws: Draws, signal: LogWeights) -> Surrogate:
    """theta climbs L_1; phi moves by signal times score, without the score inside log w, whose mean is zero."""
    return both(elbo(draws.log_p + signal * draws.log_q))


def _iwae_with_baseline(draws: Draws, baseline: LogWeights) -> Surrogate:
    bound = iwae_bound(draws.log_weights)
    return both(bound + ((bound.detach() - baseline) * draws.log_q).sum(0))


def _mean_of_others(log_weights: LogWeights) -> LogWeights:
    """Row i: the mean over j != i; -inf if one of them is."""
    impossible = log_weights == -math.inf
    finite = log_weights.masked_fill(impossible, 0.0)
    mean = (finite.sum(0) - finite) / (len(log_weights) - 1)
    return mean.masked_fill(impossible.sum(0) > impossible.int(), -math.inf)
