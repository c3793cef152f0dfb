"""What a reader looks at in a history."""

from dataclasses import dataclass

import numpy as np

from iwae_core.evaluation.estimate import Floats
from iwae_core.training.events import Snapshot
from iwae_lab.history.history import History


@dataclass(frozen=True)
class View:
    """What the reader looks at; changing it starts no work.

    `k` is read off at one point of the curves, `at` chooses among the evaluations (-1: the latest), `x` is the axis of
    the training curves: "steps", "samples" (those a run has drawn) or "seconds". `digit` is one of the digits shown.
    """

    k: int = 50
    at: int = -1
    x: str = "steps"
    digit: int = 0


def chosen(history: History, view: View) -> Snapshot | None:
    """The evaluation in view, the latest if there are not so many; None before the first."""
    found = history.snapshots
    return found[view.at if -len(found) <= view.at < len(found) else -1] if found else None


def point(history: History, view: View) -> int:
    """The position in `eval_ks` of the view's k, or of the next smaller one that was evaluated."""
    ks = history.spec.eval_ks if history.spec else ()
    return max(sum(k <= view.k for k in ks) - 1, 0)


def eval_ks(history: History) -> Floats:
    """The values of k of an evaluation, as floats."""
    return np.array(history.spec.eval_ks if history.spec else (), np.float32)
