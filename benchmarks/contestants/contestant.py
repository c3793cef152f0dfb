"""What is measured: the paper's one-layer model trained on L_k with Adam, whatever library does it.

No contestant imports another library than its own and NumPy, so that each can live in an environment of its own.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
# Every map is [outputs, inputs]: 784-200-200-(50, 50) recognition, 50-200-200-784 generative, tanh between.
LAYERS = ("q1", "q2", "q_mean", "q_log_scale", "p1", "p2", "p_logits")
LATENT = 50
BETAS, EPSILON = (0.9, 0.999), 1e-4


@dataclass(frozen=True)
class Task:
    """Where training starts and how it goes on; `weights` holds "q1.weight", "q1.bias", "q2.weight", ..."""

    k: int
    learning_rate: float
    weights: dict[str, Array]
    threads: int

    def layer(self, name: str) -> tuple[Array, Array]:
        """Weight `[outputs, inputs]` and bias of one of `LAYERS`."""
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


class Contestant(ABC):
    """One model in training. `x` is a minibatch `[batch, 784]` in {0, 1} as `load` returned it."""

    models = 1  # trained side by side

    def __init__(self, task: Task) -> None:
        self.task = task

    @abstractmethod
    def load(self, x: Array) -> Any:
        """The minibatch as this library wants it."""

    @abstractmethod
    def step(self, x: Any) -> None:
        """Draw k samples for each image, differentiate L_k and update by Adam. May return before it is done."""

    @abstractmethod
    def bound(self, x: Any) -> float | None:
        """One estimate of L_k in nats, mean over images, by this library's own means; None if it has no model."""

    def wait(self) -> None:  # noqa: B027  (most libraries are done when a step returns)
        """Return when every step is done."""
