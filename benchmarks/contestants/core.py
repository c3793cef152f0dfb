"""This project: `Run.step` as the page and the command line use it."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.contestants.contestant import LAYERS, Array, Contestant, Task
from iwae_core.bounds.lower import iwae_bound
from iwae_core.models import Model
from iwae_core.randomness import generator
from iwae_core.training.process import prepare_process
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec


class Core(Contestant):
    """One run; on several cores as many runs side by side, one a core, as in an experiment."""

    estimator, backward = "iwae", "all"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.models = task.threads
        prepare_process()
        spec = RunSpec(self.estimator, task.k, backward=self.backward)
        experiment = ExperimentSpec((spec,), learning_rate=task.learning_rate)
        self.runs = [Run(spec, experiment, torch.full((784,), 0.5)) for _ in range(self.models)]
        self.threads = ThreadPoolExecutor(self.models, initializer=prepare_process)
        self.steps = self.bounds = 0
        for run in self.runs:
            set_weights(run.model, task)

    def load(self, x: Array) -> Tensor:
        """A tensor."""
        return torch.from_numpy(x)

    def step(self, x: Tensor) -> None:
        """One step of training, with the bounds that are plotted."""
        list(self.threads.map(partial(Run.step, x=x, step=self.steps), self.runs))
        self.steps += 1

    @torch.no_grad()
    def bound(self, x: Tensor) -> float:
        """By `iwae_bound`."""
        self.bounds += 1
        model = self.runs[0].model
        noise = model.noise(self.task.k, len(x), generator(0, "benchmark", self.bounds))
        return iwae_bound(model.draw(x, noise).log_weights).mean().item()


@torch.no_grad()
def set_weights(model: Model, task: Task) -> None:
    """Start where the others do."""
    for name, layer in zip(LAYERS, linear_maps(model), strict=True):
        weight, bias = map(torch.from_numpy, task.layer(name))
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def linear_maps(model: Model) -> list[nn.Linear]:
    """The model's maps in the order of `LAYERS`."""
    parts = (model.recognition, model.generative)
    return [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]


CONTESTANT = Core
