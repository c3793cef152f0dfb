"""A sweep over training k."""

import pytest

from iwae_core.spec import ExperimentSpec, RunSpec, SpecError
from iwae_core.sweep import members


def test_a_sweep_is_the_same_experiment_at_each_k_smallest_first() -> None:
    spec = ExperimentSpec(steps=7, seed=3)
    found = members(spec, [50, 1, 5, 5])
    assert [[run.k for run in member.runs] for member in found] == [[1, 1], [5, 5], [50, 50]]
    assert all((member.steps, member.seed) == (7, 3) for member in found)


def test_estimators_that_need_more_samples_sit_out() -> None:
    spec = ExperimentSpec((RunSpec("iwae"), RunSpec("rws"), RunSpec("miwae", repeats=5)))
    small, large = members(spec, [1, 10])
    assert [run.estimator for run in small.runs] == ["iwae"]
    assert [run.estimator for run in large.runs] == ["iwae", "rws", "miwae"]
    with pytest.raises(SpecError, match="k = 1; leave that k out"):
        members(ExperimentSpec((RunSpec("rws"),)), [1, 2])
    with pytest.raises(SpecError, match="1 to 8 different training k; got 0"):
        members(spec, [])
