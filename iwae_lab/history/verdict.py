"""The answer of an experiment: which model is ahead at the yardstick, since when that is certain, and at what price."""

from typing import NamedTuple

from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.evaluation.sequential import certain
from iwae_lab.history.history import History


class Moment(NamedTuple):
    """An evaluation: the training steps before it, and the seconds of training and evaluation until it was there."""

    step: int
    seconds: float


class Verdict(NamedTuple):
    """One run against the first, on the same images and noise: differences in nats.

    `k` is the largest of the evaluation, whose L_k is the yardstick. `since` is the evaluation from which on the lead
    has been certain (see `sequential`) and on the same side; None while it is not.
    """

    first: str
    last: str
    k: int
    images: int
    lead: Estimate
    elbo: Estimate
    since: Moment | None


def verdicts(history: History, at: int = -1) -> list[Verdict]:
    """Every run but the first against the first, as known at evaluation number `at`; none before the first one."""
    seen = history.snapshots[: at + 1] if 0 <= at < len(history.snapshots) else history.snapshots
    if history.spec is None or not seen:
        return []
    labels, images = history.labels, seen[-1].elbo.shape[-1]
    return [
        Verdict(
            labels[0],
            labels[run],
            history.spec.eval_k,
            images,
            estimate(seen[-1].iwae[run, -1] - seen[-1].iwae[0, -1]),
            estimate(seen[-1].elbo[run] - seen[-1].elbo[0]),
            _since(history, len(seen), run),
        )
        for run in range(1, len(labels))
    ]


def _since(history: History, looks: int, run: int) -> Moment | None:
    """The begin of the unbroken row of certain looks that ends with the last of so many."""
    found, side = None, 0
    for look in reversed(range(looks)):
        snapshot = history.snapshots[look]
        lead = estimate(snapshot.iwae[run, -1] - snapshot.iwae[0, -1])
        now = 1 if lead.mean > 0 else -1
        if not certain(lead, snapshot.elbo.shape[-1], look, len(history.labels) - 1) or side * now < 0:
            break
        found, side = Moment(snapshot.step, history.evaluated[look]), now
    return found
