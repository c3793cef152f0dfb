"""This project's evaluation: both bounds at every k up to the task's from one set of samples."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from benchmarks.contestants.core import Core
from iwae_core.bounds.curves import nested_grid
from iwae_core.evaluation.held_out import bound_curves


class Evaluation(Core):
    """A step evaluates the images."""

    def sizes(self) -> Sequence[int]:
        """The values of k."""
        return nested_grid(self.task.k)

    def step(self, x: Tensor) -> None:
        """Keeps nothing."""
        evaluate = partial(bound_curves, x=x, ks=self.sizes(), seed=0)
        list(self.threads.map(evaluate, [run.model for run in self.runs]))

    def bound(self, x: Tensor) -> float:
        """At the largest k."""
        self.bounds += 1
        return bound_curves(self.runs[0].model, x, self.sizes(), seed=self.bounds).iwae[-1].mean().item()


CONTESTANT = Evaluation
