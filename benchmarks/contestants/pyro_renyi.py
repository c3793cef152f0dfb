"""Pyro's RenyiELBO at order 0."""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, RenyiELBO
from pyro.optim import Adam
from torch import Tensor, nn

from benchmarks.contestants.contestant import BETAS, EPSILON, LATENT, Array, Contestant, Task
from benchmarks.contestants.plain_torch import linear


class Pyro(Contestant):
    """All samples in one vectorised plate."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        torch.set_num_threads(task.threads)
        pyro.clear_param_store()
        self.body = nn.Sequential(linear(task, "q1"), nn.Tanh(), linear(task, "q2"), nn.Tanh())
        self.mean, self.log_scale = linear(task, "q_mean"), linear(task, "q_log_scale")
        self.encoder = nn.ModuleList([self.body, self.mean, self.log_scale])
        self.decoder = nn.Sequential(
            linear(task, "p1"), nn.Tanh(), linear(task, "p2"), nn.Tanh(), linear(task, "p_logits")
        )
        adam = Adam({"lr": task.learning_rate, "betas": BETAS, "eps": EPSILON})
        objective = RenyiELBO(alpha=0, num_particles=task.k, vectorize_particles=True, max_plate_nesting=1)
        self.svi = SVI(self.model, self.guide, adam, objective)

    def model(self, x: Tensor) -> None:
        """p(x, h)."""
        decoder = pyro.module("decoder", self.decoder)
        with pyro.plate("images", len(x)):
            h = pyro.sample("h", dist.Normal(torch.zeros(LATENT), torch.ones(LATENT)).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(h)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(h | x)."""
        pyro.module("encoder", self.encoder)
        with pyro.plate("images", len(x)):
            features = self.body(x)
            pyro.sample("h", dist.Normal(self.mean(features), self.log_scale(features).exp()).to_event(1))

    def load(self, x: Array) -> Tensor:
        """A tensor."""
        return torch.from_numpy(x)

    def step(self, x: Tensor) -> None:
        """Pyro's own."""
        self.svi.step(x)

    def bound(self, x: Tensor) -> float:
        """Minus its loss, a sum over images."""
        return -self.svi.evaluate_loss(x) / len(x)


CONTESTANT = Pyro
