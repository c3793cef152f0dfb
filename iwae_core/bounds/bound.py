"""What a bound is: a function of log-weights, and what is known about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iwae_core.bounds.weights import LogWeights, PerDatum
from iwae_core.registry import Registry


@dataclass(frozen=True)
class Bound:
    """A function of log-weights `[k, batch]` that returns a value for each datum, in nats.

    `equation` is that function in LaTeX, `target` names what it estimates. If it is `lower`, its mean is never above
    log p(x) with the default parameters. It needs at least `least_k` samples.
    """

    function: Callable[..., PerDatum]
    label: str
    target: str
    equation: str
    source: str
    lower: bool
    least_k: int = 1

    def __call__(self, log_weights: LogWeights, **parameters: Any) -> PerDatum:
        """The value of each datum."""
        return self.function(log_weights, **parameters)


BOUNDS: Registry[Bound] = Registry("bound", Bound)
