"""A sweep over training k."""

from dataclasses import replace

import numpy as np
import pytest

from iwae_core.evaluation.estimate import Estimate
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.figures import against_training_k, sweep_summary
from iwae_lab.history.sweep import Point, members
from iwae_lab.paper.cells import PAPER
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.models import shipped


def test_a_sweep_is_the_same_experiment_at_each_k_smallest_first() -> None:
    spec = ExperimentSpec(steps=7, seed=3)
    found = members(spec, [50, 1, 5, 5])
    assert [[run.k for run in member.runs] for member in found] == [[1, 1], [5, 5], [50, 50]]
    assert all((member.steps, member.seed) == (7, 3) for member in found)
    assert [(member.runs[0].k, member.seed) for member in members(spec, [5, 1], 2)] == [(1, 3), (5, 3), (1, 4), (5, 4)]


def test_estimators_that_need_more_samples_sit_out() -> None:
    spec = ExperimentSpec((RunSpec("iwae"), RunSpec("rws"), RunSpec("miwae", repeats=5)))
    small, large = members(spec, [1, 10])
    assert [run.estimator for run in small.runs] == ["iwae"]
    assert [run.estimator for run in large.runs] == ["iwae", "rws", "miwae"]
    with pytest.raises(SpecError, match="k = 1; leave that k out"):
        members(ExperimentSpec((RunSpec("rws"),)), [1, 2])
    with pytest.raises(SpecError, match="1 to 200 members, one for each training k and seed; got 0"):
        members(spec, [])
    assert len(members(spec, [1, 5], 100)) == 200
    with pytest.raises(SpecError, match="got 202"):
        members(spec, [1, 5], 101)


def test_the_shipped_models_are_a_sweep() -> None:
    found = {(point.run.estimator, point.run.k): point for point in shipped()}
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


def point(l_k: float, run: RunSpec) -> Point:
    return Point(run, 1, Estimate(np.array(l_k), np.array(0.5)), Estimate(np.array(l_k - 10), np.array(0.5)))


def test_seeds_share_a_point_and_kinds_of_models_do_not() -> None:
    vae, other = RunSpec("vae", 5), RunSpec("vae", 5, "two_layer")
    found = [point(-90, vae), point(-96, vae), point(-93, vae), point(-80, replace(vae, k=1)), point(-70, other)]
    lines = {trace.name: trace for trace in against_training_k(found).data}
    names = ["VAE one_layer: L<sub>k</sub>", "VAE one_layer: ELBO", "VAE one_layer, paper"]
    assert list(lines) == [*names, "VAE two_layer: L<sub>k</sub>", "VAE two_layer: ELBO"]
    line = lines["VAE one_layer: L<sub>k</sub>"]
    assert (line.x.tolist(), line.y.tolist()) == ([1, 5], [-80, -93])
    assert line.error_y.array.tolist() == [1, 3], "two standard errors of one; up to the greatest of several"
    assert line.error_y.arrayminus.tolist() == [1, 3]
    assert "VAE one_layer at k = 5 (mean of 3 seeds): -93.0, ELBO -103.0" in sweep_summary(found)
