"""Wake-sleep and its reweighted form: theta and phi climb different functions, and samples need no derivative."""

from typing import cast

from torch import Tensor

from iwae_core.bounds.lower import elbo
from iwae_core.bounds.weights import normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators.estimator import Surrogate, Target, both, estimator

SLEEP = r"\nabla_\phi \frac1k \sum_{i=1}^k \log q(h'_i \mid x'_i), \quad (x'_i, h'_i) \sim p"


@estimator(
    "rws",
    label="RWS, wake",
    path="score",
    theta=Target.L_K,
    phi=Target.WAKE,
    unbiased=("theta",),
    equation=r"\theta: \sum_{i=1}^k \tilde w_i \nabla \log p(x, h_i), \quad \phi: \sum_{i=1}^k \tilde w_i s_i",
    source="Bornschein & Bengio 2015",
    bias="phi by order 1/k",
    least_k=2,
    instead="wake_sleep",
    c=0.2,
)
def rws(draws: Draws) -> Surrogate:
    """theta as IWAE; phi moves q towards the posterior as the weighted samples show it, with a bias of order 1/k.

    At k = 1 the phi part is a score, zero on average: nothing would be learned.
    """
    weights = normalized_weights(draws.log_weights.detach())
    return both((weights * (draws.log_p + draws.log_q)).sum(0))


@estimator(
    "rws_sleep",
    label="RWS, sleep",
    path="sleep",
    theta=Target.L_K,
    phi=Target.SLEEP,
    equation=rf"\theta: \sum_{{i=1}}^k \tilde w_i \nabla \log p(x, h_i), \quad \phi: {SLEEP}",
    source="Bornschein & Bengio 2015",
    instead="rws",
)
def rws_sleep(draws: Draws) -> Surrogate:
    """theta as IWAE; phi learns from the model's own dreams instead of data."""
    weights = normalized_weights(draws.log_weights.detach())
    return both((weights * draws.log_p).sum(0) + elbo(cast(Tensor, draws.dream_log_q)))


@estimator(
    "wake_sleep",
    label="Wake-sleep",
    path="sleep",
    theta=Target.L_1,
    phi=Target.SLEEP,
    equation=rf"\theta: \frac1k \sum_{{i=1}}^k \nabla \log p(x, h_i), \quad \phi: {SLEEP}",
    source="Hinton et al. 1995",
    instead="rws",
)
def wake_sleep(draws: Draws) -> Surrogate:
    """The wake phase climbs L_1 in theta; the sleep phase teaches q the model's own dreams."""
    return both(elbo(draws.log_p) + elbo(cast(Tensor, draws.dream_log_q)))
