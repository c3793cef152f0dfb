"""A sweep over training k."""

import pytest

from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.sweep import members
from iwae_lab.paper.cells import PAPER
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.models import shipped


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


def test_the_shipped_models_are_a_sweep() -> None:
    found = {(point.estimator, point.k): point for point in shipped()}
    ks = sorted({k for _, k in found})
    cells = [cell for cell in PAPER if (cell.dataset, cell.layers, cell.before) == ("mnist", 1, None)]
    assert found.keys() == {(cell.estimator, cell.k) for cell in cells if cell.k in ks}
    assert len(ks) > 1
    vae, iwae = (found[name, 1] for name in ("vae", "iwae"))
    assert vae[1:] == iwae[1:], "one model"
    for (name, k), point in found.items():
        entry = manifest()["vae_k1" if k == 1 else f"{name}_k{k}"]
        assert -point.l_k.mean == entry["nll"]
        assert point.elbo.mean == entry["elbo"] < point.l_k.mean
    # As in the paper's table, more samples help both, and IWAE more.
    for name in ("vae", "iwae"):
        means = [float(found[name, k].l_k.mean) for k in ks]
        assert means == sorted(means)
    for k in ks[1:]:
        assert found["iwae", k].l_k.mean > found["vae", k].l_k.mean
        assert found["iwae", k].elbo.mean < found["vae", k].elbo.mean
