"""Multi-sample bounds on log p(x), and diagnostics of the weights behind them.

Every function takes log-weights, in nats, with the k samples first,

    log_weights[i, b] = log w_i = log p(x_b, h_i) - log q(h_i | x_b),    h_1 ... h_k drawn from q(h | x_b),

and returns one value for each datum. Sums over samples are `dim=0`; averages over data are taken last, by the caller.

Notation            here                     elsewhere
------------------  -----------------------  ----------------------------------------------------------------------
h                   latent variables         z in DReG, RWS and most later papers
p(x, h), theta      generative model         decoder and prior; Burda et al. write theta for both networks
q(h | x), phi       recognition model        encoder, inference network, variational distribution, guide
k                   samples per datum        K in most later papers; M is then the number of repetitions
w, w~               weight, normalised       importance weight, normalised (self-normalised) importance weight
L_1, L_k            ELBO, IWAE bound         variational lower bound, importance weighted or multi-sample bound

A log-weight of -inf (a sample the model calls impossible) is allowed and counts as weight zero; NaN is not.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LogWeights = Float[Tensor, "k batch"]
PerDatum = Float[Tensor, " batch"]


def elbo(log_weights: LogWeights) -> PerDatum:
    """The k-sample minibatch ELBO, the average of the logs: (1/k) sum_i log w_i.

    Unbiased for L_1 = log p(x) - KL(q || p(h | x)) at every k: more samples shrink its error, never its distance from
    log p(x). Source: Burda et al. 2016, eq. 3 and 7.
    """
    return log_weights.mean(0)


def iwae_bound(log_weights: LogWeights) -> PerDatum:
    """The importance weighted bound, the log of the average: log (1/k) sum_i w_i.

    Unbiased for L_k, which rises with k towards log p(x). Exceeds `elbo` of the same weights by exactly
    KL(uniform || w~), zero only if all weights are equal. Source: Burda et al. 2016, eq. 8.
    """
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[0])


def normalized_weights(log_weights: LogWeights) -> LogWeights:
    """w~_i = w_i / sum_j w_j, summing to 1 over the samples; uniform where every weight is zero."""
    impossible = (log_weights == -math.inf).all(0)
    return torch.softmax(log_weights.masked_fill(impossible, 0.0), 0)


def effective_sample_size(log_weights: LogWeights) -> PerDatum:
    """ESS = 1 / sum_i w~_i^2, between 1 (one sample carries all the weight) and k (all weights equal)."""
    return 1 / normalized_weights(log_weights).square().sum(0)
