"""Multi-sample bounds on log p(x), and estimates of log p(x) made from them by correcting their bias.

Every bound takes log-weights, in nats, of k samples h_1 ... h_k drawn from q(h | x_b), with the samples first,

    log_weights[i, b] = log w_i = log p(x_b, h_i) - log q(h_i | x_b),

and returns one value for each datum. Sums over samples are `dim=0`; averages over data are taken last, by the caller.

notation         | here                        | elsewhere
:--------------- | :-------------------------- | :--------
`h`              | latent variables            | z in DReG, RWS and most later papers
`p(x, h)`, theta | generative model            | decoder and prior; Burda et al. write theta for both networks
`q(h | x)`, phi  | recognition model           | encoder, inference network, variational distribution, guide
`k`              | samples per datum           | K in most later papers; M is then the number of repetitions
`w`, `w~`        | weight, normalised          | importance weight, normalised (self-normalised) importance weight
`L_1`, `L_k`     | ELBO, IWAE bound            | variational lower bound, importance weighted or multi-sample bound
`L^_k`           | `iwae_bound` of the samples | the logarithm of the estimated evidence
`s_i`            | score of q at h_i           | gradient of `log q(h_i | x)` in phi with h_i held fixed
`g_i`            | path derivative of log w_i  | gradient of log w_i in phi through h_i alone

Sums are made in float64, also of float32 log-weights: near -9000 one rounding of these changes a weight by 1/2000 of
it. A log-weight of -inf (a sample the model calls impossible) is allowed and counts as weight zero; NaN is not. No
bound returns NaN, and all return -inf if every weight is zero. Where a value is -inf its gradient has no meaning.
"""

# In the order in which they are shown.
# isort: off
from iwae_core.bounds.bound import BOUNDS, Bound
from iwae_core.bounds import lower  # noqa: F401
from iwae_core.bounds import corrected  # noqa: F401

# isort: on
from iwae_core.registry import discover

discover(__name__, __path__)
__all__ = ["BOUNDS", "Bound"]
