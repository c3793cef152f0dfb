"""log p(x) of simulated images, between two bounds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iwae_core.evaluation.annealing import AnnealingPath, Bracket, bidirectional, inverse_temperatures
from iwae_core.models import Model
from iwae_core.randomness import generator


class SimulatedEvidence(NamedTuple):
    """Data simulated from a model, `[images, pixels]`, and log p(x) of each, in nats, between two bounds."""

    x: Float[Tensor, "images pixels"]
    bracket: Bracket


def simulated_evidence(
    model: Model,
    images: int,
    chains: int,
    temperatures: int,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> SimulatedEvidence:
    """log p(x) of a model with continuous latent variables by bidirectional annealing from q(h | x).

    The h that each x was simulated with is an exact draw from its posterior, which the upper bound needs. `report`
    hears how many of 3 `temperatures` are done. Source: Wu et al. 2017, who begin at the prior.

    Raises:
        ValueError: a model with discrete latent variables.
    """
    if "reparameterized" not in model.paths:
        raise ValueError("annealing moves h by gradients and needs continuous latent variables; got discrete ones")
    x, h = model.generative.sample(1, images, generator(seed, "simulated data"))
    x, sizes = x[0].detach(), [layer.shape[-1] for layer in h]

    def sample_start(randomness: torch.Generator) -> Tensor:
        return torch.cat(model.recognition.sample(x, model.noise(chains, images, randomness))[0], -1).detach()

    path = AnnealingPath(
        lambda h: model.recognition(x, h.split(sizes, -1)),
        lambda h: model.generative(x, h.split(sizes, -1)),
        inverse_temperatures(temperatures),
    )
    posterior = torch.cat(h, -1).detach().expand(chains, -1, -1)
    return SimulatedEvidence(x, bidirectional(path, sample_start, posterior, generator(seed, "annealing"), report))
