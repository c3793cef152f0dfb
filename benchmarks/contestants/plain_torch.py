"""The model as a textbook would write it, with torch.distributions."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal

from benchmarks.contestants.contestant import BETAS, EPSILON, LATENT, Array, Contestant, Task


class PlainTorch(Contestant):
    """Nothing clever, nothing wasteful."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        torch.set_num_threads(task.threads)
        self.body = nn.Sequential(linear(task, "q1"), nn.Tanh(), linear(task, "q2"), nn.Tanh())
        self.mean, self.log_scale = linear(task, "q_mean"), linear(task, "q_log_scale")
        self.decoder = nn.Sequential(
            linear(task, "p1"), nn.Tanh(), linear(task, "p2"), nn.Tanh(), linear(task, "p_logits")
        )
        modules = nn.ModuleList([self.body, self.mean, self.log_scale, self.decoder])
        self.optimiser = torch.optim.Adam(modules.parameters(), task.learning_rate, betas=BETAS, eps=EPSILON)

    def load(self, x: Array) -> Tensor:
        """A tensor."""
        return torch.from_numpy(x)

    def log_weights(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """log p(x, h) - log q(h | x), `[k, batch]`, of drawn samples or of those made from given noise."""
        features = self.body(x)
        mean, scale = self.mean(features), self.log_scale(features).exp()
        q = Independent(Normal(mean, scale), 1)
        h = q.rsample((self.task.k,)) if noise is None else mean + scale * noise
        prior = Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)
        pixels = Independent(Bernoulli(logits=self.decoder(h)), 1)
        return prior.log_prob(h) + pixels.log_prob(x) - q.log_prob(h)

    def mean_bound(self, x: Tensor) -> Tensor:
        """L_k, mean over images."""
        return (torch.logsumexp(self.log_weights(x), 0) - math.log(self.task.k)).mean()

    def step(self, x: Tensor) -> None:
        """Backward through the whole minibatch at once."""
        self.optimiser.zero_grad()
        loss = -self.mean_bound(x)
        loss.backward()
        self.optimiser.step()
        loss.item()

    @torch.no_grad()
    def bound(self, x: Tensor) -> float:
        """By the same function."""
        return self.mean_bound(x).item()


def linear(task: Task, name: str) -> nn.Linear:
    """One of the task's maps as a module."""
    weight, bias = (nn.Parameter(torch.from_numpy(array.copy())) for array in task.layer(name))
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = weight, bias
    return layer


CONTESTANT = PlainTorch
