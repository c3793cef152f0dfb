"""Most draws pull with nothing: the rows of one digit's gradient in a shipped model, and what leaving some out costs.

The gradient of the log of the average of k weights is sum_i a_i r_i: draw i pulls with its share a_i of all weights
along r_i, the gradient of its own log w_i. `iwae_core.estimators.counting` keeps row i with probability
p_i = min(1, a_i / t), t = c / k, and lets it pull with a_i / p_i. For the draws at hand that adds the variance
sum_i a_i (t - a_i)^+ |r_i|^2 exactly; what the gradient has anyway is measured over fresh draws of the same digit.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from iwae_core.bounds.weights import normalized_weights
from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import thinned
from iwae_core.evaluation.estimate import Floats
from iwae_core.evaluation.signal import gradient_moments
from iwae_core.models import Model
from iwae_core.randomness import generator
from iwae_core.training.process import one_thread
from iwae_lab.shipped.models import digits, load

K = 50
REPEATS = 30  # gradients whose variance is measured: known to about a quarter
FORWARD, BACKWARD = 1, 2  # passes of one draw, in units of the first


@dataclass(frozen=True, eq=False)
class Rows:
    """The draws of one digit, the heaviest first: their pulls, the chance of each to be kept, and what it then pulls.

    `added` is the variance that leaving rows out adds to this gradient, all parameters together; `variance` what it
    has anyway.
    """

    pulls: Floats
    chances: Floats
    kept: Floats
    threshold: float
    added: float
    variance: float

    @property
    def expected(self) -> float:
        """Rows kept on average over the coins."""
        return float(self.chances.sum())

    @property
    def work(self) -> float:
        """Passes of this gradient, all forward and the kept ones backward, over those of the whole one."""
        return (FORWARD + BACKWARD * self.expected / len(self.pulls)) / (FORWARD + BACKWARD)


@one_thread
def rows(model: str, digit: int, c: float, draw: int, toss: int) -> Rows:
    """What K draws pull with, and what is left of it; `draw` counts the sets of draws, `toss` those of the coins."""
    log_weights, squares = _drawn(model, digit, draw)
    pulls = normalized_weights(log_weights)
    coins = torch.rand(K, 1, generator=generator(draw, "lesson coins", toss), dtype=pulls.dtype)
    threshold = c / K
    chances = torch.ones_like(pulls) if c == 0 else (pulls / threshold).clamp(max=1)
    added = float((pulls * (threshold - pulls).clamp(min=0) * squares).sum())
    order = pulls[:, 0].argsort(descending=True)
    all_pulls, of_each, kept = (part[order, 0].numpy() for part in (pulls, chances, thinned(pulls, coins, c)))
    return Rows(all_pulls, of_each, kept, threshold, added, _variance(model, digit))


@lru_cache(maxsize=64)
def _drawn(model: str, digit: int, draw: int) -> tuple[Tensor, Tensor]:
    """log w of K draws, and the squared length of the gradient of each, `[K, 1]`."""
    network, x = _trainable(model), digits()[digit : digit + 1]
    noise = network.noise(K, 1, generator(draw, "lesson rows", digit))
    parameters = [*network.theta, *network.phi]
    found = []
    for row in range(K):  # each alone: its gradient is wanted, not their sum
        log_weight = network.draw(x, tuple(layer[row : row + 1] for layer in noise), "reparameterized").log_weights
        gradient = torch.autograd.grad(log_weight.sum(), parameters)
        found.append((log_weight.detach(), sum(part.double().square().sum() for part in gradient)))
    log_weights, squares = zip(*found, strict=True)
    return torch.cat(log_weights), torch.stack(squares)[:, None]


@lru_cache(maxsize=64)
def _variance(model: str, digit: int) -> float:
    x = digits()[digit : digit + 1]
    parts = gradient_moments(_trainable(model), ESTIMATORS["iwae"], x, K, REPEATS, seed=0)
    return sum(float(part.variance.sum()) for part in parts)


def _trainable(model: str) -> Model:
    """A copy of its own: what is shipped is shared, and takes no gradients."""
    return deepcopy(load(model)).requires_grad_()
