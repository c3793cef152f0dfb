"""The members of a sweep, and what each of them has found."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

from iwae_core.estimators import ESTIMATORS
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History
from iwae_lab.history.sweep import points


def members(
    base: ExperimentSpec, estimators: Sequence[str], ks: Sequence[int], seeds: Sequence[int], models: Sequence[str]
) -> list[ExperimentSpec]:
    """An experiment of one run for each combination; estimators that need more samples than k sit out.

    All of a seed share minibatches, noise and held-out images, so they are paired.

    Raises:
        SpecError: one of them cannot be trained.
    """
    combined = product(dict.fromkeys(models), dict.fromkeys(seeds), dict.fromkeys(ks), dict.fromkeys(estimators))
    return [
        replace(base, runs=(RunSpec(estimator, k, model),), seed=seed)
        for model, seed, k, estimator in combined
        if estimator not in ESTIMATORS or k >= ESTIMATORS[estimator].least_k
    ]


@dataclass(frozen=True)
class Row:
    """A member and its last evaluation, in nats per held-out image; empty before its first."""

    estimator: str
    k: int
    seed: int
    model: str
    state: str
    step: int
    l_k: float | None = None
    l_k_stderr: float | None = None
    elbo: float | None = None
    elbo_stderr: float | None = None


def row(spec: ExperimentSpec, state: str, history: History) -> Row:
    """What a member has found."""
    (run,) = spec.runs
    began = Row(run.estimator, run.k, spec.seed, run.model, state, history.step)
    if not (found := points([history])):
        return began
    l_k, elbo = found[0].l_k, found[0].elbo
    return replace(
        began,
        l_k=float(l_k.mean),
        l_k_stderr=float(l_k.stderr),
        elbo=float(elbo.mean),
        elbo_stderr=float(elbo.stderr),
    )


def to_json(rows: Iterable[Row]) -> str:
    """The rows as a list of objects."""
    return json.dumps(list(map(asdict, rows)), indent=2)


def to_csv(rows: Sequence[Row]) -> str:
    """The rows as a table with a head."""
    text = io.StringIO()
    table = csv.DictWriter(text, Row.__dataclass_fields__, lineterminator="\n")
    table.writeheader()
    table.writerows(map(asdict, rows))
    return text.getvalue()
