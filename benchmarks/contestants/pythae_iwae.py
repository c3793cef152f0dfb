"""pythae's IWAE."""

import torch
from pythae.data.datasets import DatasetOutput
from pythae.models import IWAE, IWAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from benchmarks.contestants.contestant import BETAS, EPSILON, LATENT, Array, Contestant, Task
from benchmarks.contestants.plain_torch import linear


class Encoder(BaseEncoder):
    """Mean and log variance."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.body = nn.Sequential(linear(task, "q1"), nn.Tanh(), linear(task, "q2"), nn.Tanh())
        self.mean, self.log_scale = linear(task, "q_mean"), linear(task, "q_log_scale")

    def forward(self, x: Tensor) -> ModelOutput:
        """pythae wants the log of a variance."""
        features = self.body(x)
        return ModelOutput(embedding=self.mean(features), log_covariance=2 * self.log_scale(features))


class Decoder(BaseDecoder):
    """Probabilities of pixels."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        maps = linear(task, "p1"), nn.Tanh(), linear(task, "p2"), nn.Tanh(), linear(task, "p_logits"), nn.Sigmoid()
        self.layers = nn.Sequential(*maps)

    def forward(self, h: Tensor) -> ModelOutput:
        """pythae wants probabilities, not logits."""
        return ModelOutput(reconstruction=self.layers(h))


class Pythae(Contestant):
    """Its training loop is the user's."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        torch.set_num_threads(task.threads)
        config = IWAEConfig(
            input_dim=(784,),
            latent_dim=LATENT,
            reconstruction_loss="bce",
            number_samples=task.k,
            uses_default_encoder=False,
        )
        self.model = IWAE(config, Encoder(task), Decoder(task))
        self.optimiser = torch.optim.Adam(self.model.parameters(), task.learning_rate, betas=BETAS, eps=EPSILON)

    def load(self, x: Array) -> DatasetOutput:
        """A dictionary with a tensor in it."""
        return DatasetOutput(data=torch.from_numpy(x))

    def step(self, x: DatasetOutput) -> None:
        """Its loss is a surrogate with the right gradient."""
        self.optimiser.zero_grad()
        loss = self.model(x).loss
        loss.backward()
        self.optimiser.step()
        loss.item()

    def bound(self, x: DatasetOutput) -> float:
        """By `get_nll`, which returns log p(x), not its negative."""
        return float(self.model.get_nll(x.data, n_samples=self.task.k, batch_size=self.task.k))


CONTESTANT = Pythae
