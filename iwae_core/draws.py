"""What a model hands to an estimator: the samples of one minibatch, their log-densities, and how gradients flow.

A path says how h and log q depend on phi. theta enters log p alike on every path.

path            | derivatives
:-------------- | :----------
reparameterized | h = T(noise; phi): the derivative of log w in phi is total, through h and through log q
analytic_kl     | the same, with `KL(q || p(h))` known in closed form
stopped_q       | h = T(noise; phi), but phi is held fixed inside log q: the path derivative alone
one_sample      | k weights without any derivative, then one sample kept by its weight, reparameterised
score           | h is a constant; phi enters log q only, whose derivative is the score
sleep           | score, and in addition log q of dreams (x', h') ~ p
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from jaxtyping import Float, Int
from torch import Tensor

from iwae_core.bounds.weights import LogWeights, PerDatum

Path: TypeAlias = Literal["reparameterized", "analytic_kl", "stopped_q", "one_sample", "score", "sleep"]


@dataclass(frozen=True)
class Draws:
    """k samples of the latent variables for every datum, in nats.

    path says which derivatives they carry. h holds one `[k, batch, units]` tensor for each stochastic layer, nearest to
    x first; log_p is log p(x, h) and log_q is log q(h | x), both `[k, batch]`.

    What only some estimators need: kl_error is log q(h | x) / p(h) minus its expectation, `[k, batch]`; kept is log w
    of the one sample that was kept, `[batch]`; dream_log_q is log q(h' | x') of k dreams a datum; baseline predicts
    log w from earlier steps.
    """

    path: Path
    h: tuple[Float[Tensor, "k batch ..."], ...]
    log_p: LogWeights
    log_q: LogWeights
    kl_error: LogWeights | None = None
    kept: PerDatum | None = None
    dream_log_q: LogWeights | None = None
    baseline: float = 0.0

    @cached_property
    def log_weights(self) -> LogWeights:
        """log w = log p(x, h) - log q(h | x), `[k, batch]`, float64: near -9000 float32 keeps three decimals."""
        return self.log_p.double() - self.log_q


class Cotangents(NamedTuple):
    """What multiplies the gradients of each sample: theta's in log p, phi's in log p and phi's in log q."""

    theta: LogWeights
    p: LogWeights
    q: LogWeights

    @property
    def rows(self) -> Int[Tensor, " rows"]:
        """The numbers, of k x batch rows, of the samples that pull at all in log p."""
        pulling = self.theta.bool() if self.theta is self.p else self.theta.bool() | self.p.bool()
        return pulling.flatten().nonzero().squeeze(1)
