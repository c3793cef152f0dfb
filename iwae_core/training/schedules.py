"""Learning-rate schedules: each maps a step and the number of steps to a factor of the learning rate.

A schedule is a pure function, so a resumed run needs nothing from before, and a short run can follow the shape of a
long one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from iwae_core.registry import Registry


@dataclass(frozen=True)
class Schedule:
    """A function of a step, counted from 0, and the number of steps, which returns a factor of the learning rate."""

    factor: Callable[[int, int], float]
    label: str
    source: str = ""

    def __call__(self, step: int, steps: int) -> float:
        """The factor of the learning rate in a step."""
        return self.factor(step, steps)


SCHEDULES: Registry[Schedule] = Registry("schedule", Schedule)

# Stage i of the paper's schedule lasts 3^i passes over the training data; it has stages 0 to 7.
LAST_STAGE = 7
PASSES = sum(3**stage for stage in range(LAST_STAGE + 1))
# Then, for its Table 2, the paper went on for as many passes as the last stage had, with the other estimator.
PASSES_AFTER_SWAP = 3**LAST_STAGE


@SCHEDULES.register("constant", label="constant")
def constant(step: int, steps: int) -> float:
    """The factor 1 at every step."""
    return 1.0


@SCHEDULES.register("burda", label="falling in eight stages", source="Burda et al. 2016, section 5")
def burda(step: int, steps: int) -> float:
    """10^(-i/7) in stage i, which lasts 3^i of 3280 equal parts of the run, i = 0..7; `step` counts from 0.

    From a learning rate of 0.001, in 9,840,000 steps of 20 images, this is the paper's: 3280 passes over 60,000 images.
    """
    return _factor(step, steps, PASSES)


@SCHEDULES.register("burda_swap", label="falling in eight stages, then on", source="Burda et al. 2016, Table 2")
def burda_swap(step: int, steps: int) -> float:
    """`burda` over the first 3280 of 5467 equal parts of the run, then its last factor, 1/10.

    The paper swaps the estimator after part 3280, the step steps * 3280 / 5467.
    """
    return _factor(step, steps, PASSES + PASSES_AFTER_SWAP)


def _factor(step: int, steps: int, passes: int) -> float:
    """The factor after `step` of `steps` steps, which make so many passes; stage i begins after (3^i - 1) / 2 passes.

    Integers only: no step falls into the wrong stage by rounding.
    """
    begun = (stage for stage in range(LAST_STAGE + 1) if (3**stage - 1) // 2 * steps <= passes * step)
    return float(10 ** (-max(begun) / LAST_STAGE))
