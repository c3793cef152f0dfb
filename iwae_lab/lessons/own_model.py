"""A model put together from a menu of densities, its exact answers, and a q fitted to it through the black box.

One latent variable and one observation: h ~ prior, x | h ~ noise around link(h). Whatever is chosen, log p(x), the
posterior and L_k follow from integrals over a line. Nodes are h = centre + scale sinh(u) with u evenly spaced, dense in
the middle and reaching far: the trapezoid rule in u converges fast for heavy tails too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal, StudentT
from torch.nn.functional import softplus

from iwae_core.black_box import draw, paths
from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.estimators import require
from iwae_core.evaluation.estimate import Floats
from iwae_core.exact.law import Law, exact_curve, resampled_log_prob
from iwae_core.training.process import one_thread
from iwae_lab.lessons.coded import run

SEEN = -60.0  # a node of less probability under q is not drawn in any number of samples
STEPS, BATCH, RATE = 150, 32, 0.1
CURVE_KS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
# Where log w falls like -h^4 the integral for L_k is as long as that tail. A floor under the weights cuts it
# and costs 1e-5 nats at most: all five samples lie below the 1 % quantile with probability 1e-10, and beside another a
# weight of e^-60 p(x) counts nothing.
QUANTILE, NOTHING = 0.01, -60.0
NAMES = ("vae", "iwae", "dreg", "stl", "rws", "reinforce_loo", "vimco")

PRIORS: Mapping[str, Callable[[], Distribution]] = {
    "normal": lambda: Normal(_number(0), _number(1)),
    "Laplace": lambda: Laplace(_number(0), _number(1)),
    "Student t, 3 d.f.": lambda: StudentT(_number(3), _number(0), _number(1)),
    "two normals": lambda: _two_normals(torch.tensor([-2.0, 2.0, -0.5, -0.5, 0.0], dtype=torch.float64)),
}
LINKS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "h": lambda h: h,
    "h²": torch.square,
    "|h|": torch.abs,
    "2 sin h": lambda h: 2 * torch.sin(h),
    "log(1 + eʰ)": softplus,
}
NOISES: Mapping[str, Callable[[Tensor, Tensor], Distribution]] = {
    "normal": Normal,
    "Laplace": Laplace,
    "Student t, 3 d.f.": lambda mean, scale: StudentT(_number(3), mean, scale),
}


class Family(NamedTuple):
    """A family of q: its distribution from unconstrained parameters, and the parameters to begin with."""

    build: Callable[[Tensor], Distribution]
    start: tuple[float, ...]


FAMILIES: Mapping[str, Family] = {
    "normal": Family(lambda phi: Normal(phi[..., 0], phi[..., 1].exp()), (0.5, 0.0)),
    "two normals": Family(lambda phi: _two_normals(phi), (-0.7, 0.7, -0.5, -0.5, 0.0)),
}


@dataclass(frozen=True)
class Choices:
    """The names of the parts, the scale of the noise, and the observation."""

    prior: str = "normal"
    link: str = "h²"
    noise: str = "normal"
    scale: float = 0.5
    x: float = 2.0
    q: str = "normal"

    def log_joint(self, x: Tensor, h: Tensor) -> Tensor:
        """log p(x, h) = log p(h) + log p(x | h), in nats: all that the black box needs to know of the model."""
        noise = NOISES[self.noise](LINKS[self.link](h), torch.full_like(h, self.scale))
        log_p: Tensor = PRIORS[self.prior]().log_prob(h) + noise.log_prob(x)
        return log_p

    def q_at(self, phi: Tensor) -> Distribution:
        """The distribution q with parameters phi `[..., parameters]`."""
        return FAMILIES[self.q].build(phi)


@dataclass(frozen=True)
class Coded(Choices):
    """A model whose log p(x, h) is a function in Python, which may do whatever this process may."""

    code: str = ""

    def log_joint(self, x: Tensor, h: Tensor) -> Tensor:
        """What the code says.

        Raises:
            CodeError: it does not run, takes too long, or does not return one number for each h.
        """
        return run(self.code, x, h)


class Answers(NamedTuple):
    """Exact answers at one q: densities on `h`; L_k at each of `CURVE_KS`; log p(x); what resampling one of k keeps."""

    h: Floats
    posterior: Floats
    q: Floats
    resampled: Floats
    bound: Floats
    log_evidence: float


class Weighted(NamedTuple):
    """One set of draws from q: where they lie, their normalised weights, and the effective sample size."""

    h: Floats
    weights: Floats
    effective: float


@lru_cache(maxsize=64)
@one_thread
def fit(choices: Choices, estimator: str, k: int) -> Floats:
    """The parameters of q after 0, 1, ..., `STEPS` steps of Adam, each on the mean of `BATCH` estimates.

    Raises:
        UnsupportedError: q or k does not allow this estimator; the message names one that can be used.
    """
    chosen = require(estimator, k, paths(choices.q_at(_start(choices))))
    phi, x, randomness = _start(choices).requires_grad_(), _number(choices.x), torch.Generator().manual_seed(0)
    first, second, path = torch.zeros_like(phi), torch.zeros_like(phi), [phi.detach().numpy().copy()]
    # Adam written out: the first use of torch.optim in a process imports for more than a second.
    for step in range(1, STEPS + 1):
        draws = draw(choices.log_joint, choices.q_at(phi.expand(BATCH, -1)), x, k, randomness, chosen.path)
        (slope,) = torch.autograd.grad(chosen(draws).phi.mean(), phi)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope.square()
        size = RATE / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        phi = (phi + size * first).detach().requires_grad_()
        path.append(phi.detach().numpy().copy())
    return np.stack(path)


@lru_cache(maxsize=256)
@one_thread
@torch.no_grad()
def answers(choices: Choices, phi: tuple[float, ...], k: int) -> Answers:
    """Everything about the model and q with these parameters, by quadrature."""
    q, x, evidence = (
        choices.q_at(torch.tensor(phi, dtype=torch.float64)),
        _number(choices.x),
        exact_log_evidence(choices),
    )
    _, law = _law(choices, q, 1 / 128)
    first = law.log_prob.exp() @ law.log_weights
    rest = exact_curve(_floored(law, evidence), CURVE_KS[1:]).bound
    nodes, law = _law(choices, q, 1 / 48)  # fine enough to draw
    kept = (resampled_log_prob(_floored(law, evidence), k) - law.log_prob + q.log_prob(nodes)).exp()
    h = torch.linspace(-5, 5, 501, dtype=torch.float64)
    return Answers(
        h.numpy(),
        (choices.log_joint(x, h) - evidence).exp().numpy(),
        q.log_prob(h).exp().numpy(),
        np.interp(h.numpy(), nodes.numpy(), kept.numpy(), 0, 0),
        torch.cat([first[None], rest]).numpy(),
        evidence,
    )


def exact_log_evidence(choices: Choices) -> float:
    """log p(x) by the trapezoid rule, on nodes that do not depend on q."""
    nodes, log_width = _nodes(0.0, 1.0, 16, 1 / 512)
    return float(torch.logsumexp(choices.log_joint(_number(choices.x), nodes) + log_width, 0))


@one_thread
def weighted_draws(choices: Choices, phi: tuple[float, ...], k: int, seed: int) -> Weighted:
    """k draws from q and their normalised weights."""
    q = choices.q_at(torch.tensor(phi, dtype=torch.float64))
    randomness = torch.Generator().manual_seed(seed)
    draws = draw(choices.log_joint, q, _number(choices.x), k, randomness, "score")
    weights = torch.softmax(draws.log_weights[:, 0], 0)
    return Weighted(draws.h[0][:, 0].numpy(), weights.numpy(), float(effective_sample_size(draws.log_weights)))


def _law(choices: Choices, q: Distribution, spacing: float) -> tuple[Tensor, Law]:
    """Nodes where q has probability, and the law of log w on them."""
    nodes, log_width = _nodes(float(q.mean), float(q.stddev), 4.5, spacing)
    seen = q.log_prob(nodes) + log_width > SEEN
    nodes, log_width = nodes[seen], log_width[seen]
    log_q = q.log_prob(nodes)
    log_weights = choices.log_joint(_number(choices.x), nodes) - log_q
    return nodes, Law(log_weights, torch.log_softmax(log_q + log_width, 0))


def _floored(law: Law, evidence: float) -> Law:
    """The same law for five samples and more, without the longest part of its left tail."""
    order = law.log_weights.argsort()
    below = law.log_prob[order].exp().cumsum(0) <= QUANTILE
    floor = min(float(law.log_weights[order[int(below.sum())]]), evidence + NOTHING)
    return Law(law.log_weights.clamp(min=floor), law.log_prob)


def _nodes(centre: float, scale: float, reach: int | float, spacing: float) -> tuple[Tensor, Tensor]:
    """h = centre + scale sinh(u) for u from -reach to reach, and the log of each node's width."""
    u = torch.arange(-reach, reach + spacing / 2, spacing, dtype=torch.float64)
    return centre + scale * torch.sinh(u), torch.log(scale * spacing * torch.cosh(u))


def _two_normals(phi: Tensor) -> Distribution:
    """Two means, two log standard deviations, and the logit of the second's share."""
    logits = torch.stack([torch.zeros_like(phi[..., 4]), phi[..., 4]], -1)
    return MixtureSameFamily(Categorical(logits=logits), Normal(phi[..., :2], phi[..., 2:4].exp()))


def _start(choices: Choices) -> Tensor:
    return torch.tensor(FAMILIES[choices.q].start, dtype=torch.float64)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
