"""The same experiment at several training k: what Table 1 of the paper compares.

Each training k is an experiment of its own, so estimators are paired within it; all share seed, data and held-out
images, so they are paired across k as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History

MAX_MEMBERS = 8


class Point(NamedTuple):
    """A model of a sweep as it was last evaluated: L_k at the largest k, and the ELBO, on held-out images.

    `lead` is the paired difference of L_k from the first model of the same experiment, None for that itself.
    """

    estimator: str
    k: int
    step: int
    l_k: Estimate
    elbo: Estimate
    lead: Estimate | None = None


def members(spec: ExperimentSpec, ks: Sequence[int]) -> list[ExperimentSpec]:
    """The experiment once for each training k, smallest first; estimators that need more samples sit out.

    Raises:
        SpecError: no k, too many, or one that none of the estimators can use.
    """
    if not 1 <= len(set(ks)) <= MAX_MEMBERS:
        raise SpecError(f"a sweep has 1 to {MAX_MEMBERS} different training k; got {len(set(ks))}")
    return [replace(spec, runs=_at(spec.runs, k)) for k in sorted(set(ks))]


def _at(runs: Iterable[RunSpec], k: int) -> tuple[RunSpec, ...]:
    able = tuple(replace(run, k=k) for run in runs if _can(run, k))
    if not able:
        raise SpecError(f"none of these estimators can train with k = {k}; leave that k out")
    return able


def _can(run: RunSpec, k: int) -> bool:
    return k >= ESTIMATORS[run.estimator].least_k and not (run.repeats and k % run.repeats)


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
            found.append(Point(run.estimator, run.k, snapshot.step, estimate(iwae), estimate(elbo), lead))
    return found
