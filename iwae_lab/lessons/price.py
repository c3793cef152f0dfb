"""The price of a tight bound: how far the encoder's and the decoder's gradient stand out of their noise, exactly.

The model is Rainforth's: h ~ N(mu, I), x | h ~ N(h, I), q = N(b, v I), in any number of dimensions. The posterior has
variance 1/2 in each; `ratio` is that of q over it, and b lies `shift` posterior standard deviations off its mean in the
first dimension, where x is sqrt(2) from mu, as far as the model puts it on average. The two gradients are those of
b and mu in that dimension. Source: Rainforth et al. 2018, section 4.1.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Floats
from iwae_core.exact.cases import gaussian_mismatch_law, standard_normal_grid
from iwae_core.exact.law import Law
from iwae_core.exact.weighted_sums import Shares, WeightedSums
from iwae_core.training.process import one_thread

KS = tuple(2**j for j in range(13))
REPEATS = 8  # M of MIWAE and PIWAE
TOTAL, PATH, SCORE, DECODER = range(4)


class Form(NamedTuple):
    """An estimator as weighted sums: the encoder's derivative and both shares of powers of the normalised weight."""

    derivative: int
    encoder: Shares
    decoder: Shares
    one_sample: bool = False
    encoder_repeats: int = 1
    decoder_repeats: int = 1


UNIFORM, WEIGHTS = {0: 1}, {1: 1}
FORMS: Mapping[str, Form] = {
    "iwae": Form(TOTAL, WEIGHTS, WEIGHTS),
    "dreg": Form(PATH, {2: 1}, WEIGHTS),
    "stl": Form(PATH, WEIGHTS, WEIGHTS),
    "rws": Form(SCORE, WEIGHTS, WEIGHTS),
    "rws_dreg": Form(PATH, {1: 1, 2: -1}, WEIGHTS),
    "vae": Form(TOTAL, UNIFORM, UNIFORM),
    "vae_path": Form(PATH, UNIFORM, UNIFORM),
    "iwae_one_sample": Form(TOTAL, WEIGHTS, WEIGHTS, one_sample=True),
    "miwae": Form(TOTAL, WEIGHTS, WEIGHTS, encoder_repeats=REPEATS, decoder_repeats=REPEATS),
    "piwae": Form(TOTAL, WEIGHTS, WEIGHTS, encoder_repeats=REPEATS),
    "ciwae": Form(TOTAL, {0: 0.5, 1: 0.5}, {0: 0.5, 1: 0.5}),
}


class Signal(NamedTuple):
    """Mean and variance of one estimate at each of `ks`, and its cost: a forward pass counts 1, a backward pass 2."""

    ks: Floats
    mean: Floats
    variance: Floats
    cost: Floats

    @property
    def ratio(self) -> Floats:
        """Signal to noise, |mean| / standard deviation; zero where there is no gradient at all."""
        noise = np.sqrt(self.variance)
        return np.divide(np.abs(self.mean), noise, out=np.zeros_like(noise), where=noise > 0)

    @property
    def ratio_of_equal_work(self) -> Floats:
        """The ratio of as many averaged estimates as cost what IWAE costs at the same k."""
        return self.ratio * np.sqrt(3 * self.ks / self.cost)

    def slope(self) -> float:
        """The power of k that the ratio follows over the last factor of 16."""
        return float(np.log(self.ratio[-1] / self.ratio[-5]) / np.log(self.ks[-1] / self.ks[-5]))


class Price(NamedTuple):
    """Signals of the two gradients by the estimator's name."""

    encoder: Mapping[str, Signal]
    decoder: Mapping[str, Signal]


@lru_cache(maxsize=128)  # of what visitors move the sliders to
@one_thread
def price(dims: int, ratio: int | float, shift: int | float) -> Price:
    """Both gradients of every estimator at every k of `KS`, by quadrature.

    Raises:
        ValueError: fewer than one dimension, or a ratio that is not positive.
    """
    sums = weighted_sums(dims, ratio, shift, KS)
    encoder = {n: _signal(sums, n, f.derivative, f.encoder, f.encoder_repeats) for n, f in FORMS.items()}
    return Price(encoder, {n: _signal(sums, n, DECODER, f.decoder, f.decoder_repeats) for n, f in FORMS.items()})


def weighted_sums(dims: int, ratio: int | float, shift: int | float, ks: Sequence[int]) -> WeightedSums:
    """The law of one log-weight with the derivatives of log w in b and mu, in the order of `TOTAL` to `DECODER`."""
    noise, log_prob = standard_normal_grid(1, spacing=1 / 8)
    e, root = noise[:, 0], math.sqrt(ratio)
    log_weights = math.log(ratio) / 2 - (shift + root * e).square() / 2 + e.square() / 2
    score = math.sqrt(2) * e / root
    path = score - math.sqrt(2) * (shift + root * e)
    decoder = (1 + shift + root * e) / math.sqrt(2)
    derivatives = torch.stack([path - score, path, score, decoder], 1)
    law = Law(log_weights, log_prob)
    if dims > 1:
        rest = gaussian_mismatch_law(ratio, 0, dims - 1)
        derivatives = derivatives.repeat_interleave(len(rest.log_prob), 0)
        law = Law(_sums(law.log_weights, rest.log_weights), _sums(law.log_prob, rest.log_prob))
    return WeightedSums(law, derivatives, ks)


def _signal(sums: WeightedSums, name: str, derivative: int, shares: Shares, repeats: int) -> Signal:
    """M repeats average M estimates of k / M samples each: the same mean as one of them, a variance M times less."""
    ks = [k for k in sums.ks if k >= max(repeats, ESTIMATORS[name].least_k)]
    places = [sums.ks.index(k // repeats) for k in ks]
    mean, variance = (part.numpy()[places] for part in sums.moments(derivative, shares, FORMS[name].one_sample))
    return Signal(np.array(ks, np.float64), mean, variance / repeats, cost(name, ks))


def cost(name: str, ks: Sequence[int] | Floats) -> Floats:
    """The passes of one estimate, forward 1 and backward 2: k of each, or one backward pass for one kept sample."""
    samples = np.asarray(ks, np.float64)
    return samples + 2 if FORMS[name].one_sample else 3 * samples


def _sums(first: Tensor, second: Tensor) -> Tensor:
    return (first[:, None] + second).flatten()
