"""Every gradient estimate that k draws of discrete latent variables can give, with its probability.

The enumerable model has four states of h, and an estimate does not depend on the order of the draws: it is decided by
how often each state was drawn. There are few such counts, so means and variances are sums, with no simulation. Shown
are the derivatives in c, the two biases of q's logits. Those in q's weights are c's times a pixel, 1, 0 or 1, so that
the total variance over all eight parameters is three times that over c.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iwae_core.bounds.weights import normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, Target
from iwae_core.evaluation.estimate import Floats
from iwae_core.exact.cases import binary_states, model_law
from iwae_core.exact.law import exact_bound
from iwae_core.models.toys import enumerable
from iwae_core.training.process import one_thread

KS = (2, 3, 4, 5, 6, 8, 10, 12, 16)
NAMES = ("reinforce", "reinforce_running", "reinforce_loo", "reinforce_iwae", "vimco_arithmetic", "vimco", "rws")
# The estimators whose signal also holds -w~_i, from log q inside the bound.
WITH_WEIGHT = ("reinforce_iwae", "vimco_arithmetic", "vimco")
ALL_PARAMETERS = 3  # times the variance over c


class Estimates(NamedTuple):
    """The derivatives in c `[outcomes, 2]`, with their probabilities, and the moments of one estimate."""

    values: Floats
    prob: Floats
    mean: Floats
    variance: float  # summed over all eight parameters of q


class Targets(NamedTuple):
    """Exact derivatives in c: of L_1, of L_k, and of -KL(p(h | x) || q)."""

    elbo: Floats
    bound: Floats
    divergence: Floats

    def of(self, estimator: str) -> Floats:
        """The gradient that an estimator says it climbs in phi; that of `rws` has a bias of order 1/k."""
        return {Target.L_1: self.elbo, Target.L_K: self.bound}.get(ESTIMATORS[estimator].phi, self.divergence)


@cache
@one_thread
def estimates(name: str, k: int, dropped: bool = False) -> Estimates:
    """The exact distribution of one estimate; `dropped` leaves out the term -w~_i s_i of the bound's gradient."""
    draws, scores, prob = _outcomes(k)
    log_q = draws.log_q.clone().requires_grad_()
    draws = replace(draws, log_q=log_q, baseline=_mean_log_weight())
    (factors,) = torch.autograd.grad(ESTIMATORS[name](draws).phi.sum(), log_q)
    if dropped and name in WITH_WEIGHT:
        factors = factors + normalized_weights(draws.log_weights.detach())
    values = (factors[..., None] * scores).sum(0)
    mean = prob @ values
    variance = ALL_PARAMETERS * (prob @ (values - mean).square()).sum()
    return Estimates(values.numpy(), prob.numpy(), mean.numpy(), float(variance))


@cache
@one_thread
def targets(k: int) -> Targets:
    """The exact gradients, by differentiating sums over all states."""
    toy = enumerable()
    law = model_law(toy.model, toy.x)
    (c,) = (parameter for parameter in toy.model.phi if parameter.dim() == 1)
    posterior = torch.softmax(law.log_prob + law.log_weights, 0).detach()
    values = (law.log_prob.exp() @ law.log_weights, exact_bound(law, k), posterior @ law.log_prob)
    return Targets(*(torch.autograd.grad(value, c, retain_graph=True)[0].numpy() for value in values))


def bias(name: str, k: int, dropped: bool = False) -> float:
    """How far the mean estimate is from the gradient of its target, the larger of c's two coordinates."""
    return float(np.abs(estimates(name, k, dropped).mean - targets(k).of(name)).max())


def variances(name: str, ks: Sequence[int] = KS) -> Floats:
    """The total variance of one estimate at each k."""
    return np.array([estimates(name, k).variance for k in ks])


@cache
def _mean_log_weight() -> float:
    """L_1, to which the running mean of log w settles."""
    toy = enumerable()
    law = model_law(toy.model, toy.x)
    return float((law.log_prob.exp() @ law.log_weights).detach())


@cache
def _outcomes(k: int) -> tuple[Draws, Tensor, Tensor]:
    """All multisets of k states: draws `[k, outcomes]`, the scores of c `[k, outcomes, 2]`, and probabilities."""
    toy, states = enumerable(), binary_states(2)
    index = torch.tensor(list(combinations_with_replacement(range(4), k))).T
    counts = torch.nn.functional.one_hot(index, 4).sum(0).double()
    with torch.no_grad():
        h = states[index]
        x = toy.x.expand(index.shape[1], -1)
        draws = Draws("score", (h,), toy.model.generative(x, (h,)), toy.model.recognition(x, (h,)))
        orders = torch.lgamma(torch.tensor(k + 1.0, dtype=torch.float64)) - torch.lgamma(counts + 1.0).sum(-1)
        scores = h - toy.model.recognition.layers[0].mean(toy.x)
    return draws, scores, (orders + draws.log_q.sum(0)).exp()
