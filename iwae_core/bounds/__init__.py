"""Multi-sample bounds on log p(x), and estimates of log p(x) made from them by correcting their bias.

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

A log-weight of -inf (a sample the model calls impossible) is allowed and counts as weight zero; NaN is not. No function
returns NaN, and all return -inf if every weight is zero. Where a value is -inf its gradient has no meaning.
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
