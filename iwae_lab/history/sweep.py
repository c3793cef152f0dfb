"""The same experiment at several training k: what Table 1 of the paper compares.

Each training k is an experiment of its own, so estimators are paired within it; all of a seed share data and held-out
images, so they are paired across k as well.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History
from iwae_lab.history.labels import DETAILS, distinct

MAX_MEMBERS = 200


class Point(NamedTuple):
    """A model of a sweep as it was last evaluated: L_k at the largest k, and the ELBO, on held-out images.

    `lead` is the paired difference of L_k from the first model of the same experiment, None for that itself.
    """

    run: RunSpec
    step: int
    l_k: Estimate
    elbo: Estimate
    lead: Estimate | None = None


def kind(run: RunSpec) -> Hashable:
    """What a run has in common with those of other training k."""
    return run.estimator, run.model, run.backward, *run.settings.items()


def kinds(runs: Sequence[RunSpec]) -> dict[Hashable, str]:
    """The kinds among some runs, each with a name that tells it from the others."""
    first = {kind(run): run for run in reversed(runs)}
    order = list(dict.fromkeys(map(kind, runs)))
    apart = [details for details in DETAILS if "k" not in details]
    return dict(zip(order, distinct([[first[each]] for each in order], apart), strict=True))


def members(spec: ExperimentSpec, ks: Sequence[int], seeds: int = 1) -> list[ExperimentSpec]:
    """The experiment once for each training k, smallest first, and again with as many seeds, from its own on.

    Estimators that need more samples sit out.

    Raises:
        SpecError: none, too many, or a k that none of the estimators can use.
    """
    if not 1 <= (count := len(set(ks)) * seeds) <= MAX_MEMBERS:
        raise SpecError(f"a sweep has 1 to {MAX_MEMBERS} members, one for each training k and seed; got {count}")
    return [
        replace(spec, runs=_at(spec.runs, k), seed=spec.seed + more) for more in range(seeds) for k in sorted(set(ks))
    ]


def _at(runs: Iterable[RunSpec], k: int) -> tuple[RunSpec, ...]:
    able = tuple(replace(run, k=k) for run in runs if _can(run, k))
    if not able:
        raise SpecError(f"none of these estimators can train with k = {k}; leave that k out")
    return able


def _can(run: RunSpec, k: int) -> bool:
    return k >= ESTIMATORS[run.estimator].least_k and not (run.repeats and k % run.repeats)


class Range(NamedTuple):
    """A mean with an error on either side: two standard errors of one model, or the least and greatest of several."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[Estimate]) -> "Range":
        """That of models that differ in their seed."""
        means = [float(value.mean) for value in values]
        if len(values) == 1:
            error = 2 * float(values[0].stderr)
            return cls(means[0], means[0] - error, means[0] + error)
        return cls(fmean(means), min(means), max(means))


def points(histories: Iterable[History]) -> list[Point]:
    """What a sweep has found so far, one point for each model that has been evaluated."""
    found = []
    for history in histories:
        if history.spec is None or not history.snapshots:
            continue
        snapshot = history.snapshots[-1]
        bounds = snapshot.iwae[:, -1]
        for index, (run, iwae, elbo) in enumerate(zip(history.spec.runs, bounds, snapshot.elbo, strict=True)):
            lead = estimate(iwae - bounds[0]) if index else None
            found.append(Point(run, snapshot.step, estimate(iwae), estimate(elbo), lead))
    return found
