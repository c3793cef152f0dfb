"""Variational inference for any latent-variable model: bring log p(x, h) and a distribution q, get every bound.

With parameters of your own, mean and log_scale:

    q = Normal(mean, log_scale.exp())  # batch_shape [batch], or [] for a single datum
    draws = draw(log_joint, q, x, k=50, randomness=torch.Generator().manual_seed(0), path="stopped_q")
    bound = iwae_bound(draws.log_weights)
    accumulate_gradient(ESTIMATORS["dreg"](draws), theta=[...], phi=[mean, log_scale])
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from iwae_core.bounds.weights import LogWeights, normalized_weights
from iwae_core.draws import Draws, Path

LogJoint = Callable[[Any, Tensor], LogWeights]


def paths(q: Distribution) -> tuple[Path, ...]:
    """The gradient paths open to draws from q; the score alone if q cannot be reparameterised."""
    return ("reparameterized", "stopped_q", "one_sample", "score") if q.has_rsample else ("score",)


def draw(
    log_joint: LogJoint, q: Distribution, x: Any, k: int, randomness: torch.Generator, path: Path = "reparameterized"
) -> Draws:
    """k samples h ~ q for each datum, with log_p = log_joint(x, h) and log_q = q.log_prob(h), both `[k, batch]`.

    q's batch shape is the batch, its event shape whatever h is for one datum (wrap independent components in
    `torch.distributions.Independent`); an empty batch shape means one datum. x is handed through as it is, so it may be
    a whole data set that a single h explains. On the path "stopped_q" q has to know the density of an h that it is told
    of, as well as of those it draws; a flow that cannot be inverted says so itself.

    Raises:
        ValueError: q has several batch dimensions or cannot be reparameterised, or log_joint returns another shape.
    """
    if path not in paths(q):
        raise ValueError(f"{type(q).__name__} offers no path {path!r}; choose from {', '.join(paths(q))}")
    if len(q.batch_shape) > 1:
        raise ValueError(f"q must have batch shape [batch] or []; got {list(q.batch_shape)}; use Independent")
    q = q if q.batch_shape else q.expand(torch.Size([1]))
    h = _sample(q, k, randomness)
    if path == "score":
        h = h.detach()
    log_p = log_joint(x, h)
    log_q = q.log_prob(h)
    if path == "stopped_q":
        # The way through the samples is all but the score, wherever q keeps its parameters: nothing has to find them.
        score = q.log_prob(h.detach())
        log_q = log_q - (score - score.detach())
    if log_p.shape != log_q.shape:
        raise ValueError(f"log_joint must return [k, batch] = {list(log_q.shape)}; got {list(log_p.shape)}")
    draws = Draws(path, (h,), log_p, log_q)
    if path == "one_sample":
        chosen = torch.multinomial(normalized_weights(draws.log_weights.detach()).T, 1, generator=randomness)
        return replace(draws, kept=draws.log_weights.gather(0, chosen.T)[0])
    return draws


def _sample(q: Distribution, k: int, randomness: torch.Generator) -> Tensor:
    """torch.distributions know only the global generator: seed it from ours, and put it back as it was."""
    seed = int(torch.randint(2**62, (), generator=randomness))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return q.rsample((k,)) if q.has_rsample else q.sample((k,))
