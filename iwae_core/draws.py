"""What a model hands to an estimator: the samples of one minibatch and their log-densities."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from iwae_core.bounds import LogWeights


@dataclass(frozen=True)
class Draws:
    """k samples of the latent variables for every datum, in nats.

    x is `[batch, pixels]`; h holds one `[k, batch, units]` tensor for each stochastic layer, nearest to x first;
    log_p is log p(x, h) and log_q is log q(h | x), both `[k, batch]`.
    """

    x: Float[Tensor, "batch pixels"]
    h: tuple[Float[Tensor, "k batch units"], ...]
    log_p: LogWeights
    log_q: LogWeights

    @property
    def log_weights(self) -> LogWeights:
        """log w = log p(x, h) - log q(h | x), `[k, batch]`."""
        return self.log_p - self.log_q
