"""When training has stopped to help: a rule on the bounds of images kept aside from training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_core.evaluation.estimate import estimate


class Patience:
    """Counts evaluations in which no run improved on its own best by more than noise explains.

    A run improves where the mean over images of L_K - best L_K, K being the largest k of an evaluation, exceeds its
    standard error. Images and noise are the same each time, so the error is that of a paired difference, in nats. Any
    run that improves starts the count again, and so does a swap of estimators.
    """

    def __init__(self) -> None:
        self._best: list[NDArray[np.float32]] = []
        self.count = 0

    def look(self, bounds: NDArray[np.float32]) -> None:
        """Take note of an evaluation: L_K, `[runs, images]`."""
        if not self._best:
            self._best = list(bounds)
            return
        with np.errstate(invalid="ignore"):  # a bound that is not finite is no improvement
            gains = [estimate(new - best) for new, best in zip(bounds, self._best, strict=True)]
        better = [bool(gain.mean > gain.stderr) for gain in gains]
        self._best = [new if won else best for won, new, best in zip(better, bounds, self._best, strict=True)]
        self.count = 0 if any(better) else self.count + 1

    def renew(self) -> None:
        """Start the count again."""
        self.count = 0

    def state_dict(self) -> dict[str, Any]:
        """The count and the best evaluations, as plain lists."""
        return {"count": self.count, "best": [best.tolist() for best in self._best]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.count, self._best = state["count"], [np.array(best, np.float32) for best in state["best"]]
