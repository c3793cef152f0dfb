"""Estimators with phi held fixed inside log q: what is left for phi is the path derivative, through the samples.

Write g_i for the path derivative of log w_i and s_i for the score of q at h_i; the total derivative is g_i - s_i. The
identity E sum w~_i s_i = E sum (w~_i - w~_i^2) g_i (Tucker et al. 2018) turns one into the other.
"""

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators.estimator import Surrogate, Target, both, estimator


@estimator(
    "vae_path",
    label="VAE, path",
    path="stopped_q",
    theta=Target.L_1,
    equation=r"\frac1k \sum_{i=1}^k g_i",
    source="Roeder et al. 2017",
    instead="reinforce_loo",
)
def vae_path(draws: Draws) -> Surrogate:
    """Leaves out the score, whose mean is zero: no variance at all where q is the posterior."""
    return both(elbo(draws.log_weights))


@estimator(
    "stl",
    label="STL",
    path="stopped_q",
    theta=Target.L_K,
    unbiased=("theta",),
    equation=r"\sum_{i=1}^k \tilde w_i g_i",
    source="Roeder et al. 2017",
    bias="phi by the mean of rws, exactly",
    instead="rws",
    c=0.2,
)
def stl(draws: Draws) -> Surrogate:
    """Leaves out the score from the IWAE gradient, where its mean is not zero: biased for k > 1.

    Its mean is the gradient of L_k plus that of `rws`; draw by draw it is `dreg` plus `rws_dreg`.
    """
    weights = normalized_weights(draws.log_weights).detach()
    return both((weights * draws.log_weights).sum(0))


@estimator(
    "dreg",
    label="DReG",
    path="stopped_q",
    theta=Target.L_K,
    equation=r"\theta: \sum_{i=1}^k \tilde w_i \nabla \log w_i, \quad \phi: \sum_{i=1}^k \tilde w_i^2 g_i",
    source="Tucker et al. 2018",
    instead="vimco",
    c=0.2,
)
def dreg(draws: Draws) -> Surrogate:
    """Reparameterises the score a second time: the IWAE gradient of phi with a signal that grows with k."""
    weights = normalized_weights(draws.log_weights).detach()
    return Surrogate(theta=iwae_bound(draws.log_weights), phi=(weights.square() * draws.log_weights).sum(0))


@estimator(
    "rws_dreg",
    label="RWS-DReG",
    path="stopped_q",
    theta=Target.L_K,
    phi=Target.WAKE,
    unbiased=("theta",),
    equation=r"\theta: \sum_{i=1}^k \tilde w_i \nabla \log w_i,"
    r"\quad \phi: \sum_{i=1}^k (\tilde w_i - \tilde w_i^2) g_i",
    source="Tucker et al. 2018",
    bias="phi by order 1/k",
    least_k=2,
    instead="rws",
    c=0.2,
)
def rws_dreg(draws: Draws) -> Surrogate:
    """The wake-phi update of `rws` doubly reparameterised: the same mean, less variance; nothing at all at k = 1."""
    weights = normalized_weights(draws.log_weights).detach()
    pull = weights - weights.square()
    return Surrogate(theta=iwae_bound(draws.log_weights), phi=(pull * draws.log_weights).sum(0))
