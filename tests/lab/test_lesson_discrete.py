"""Every estimate of a discrete model: exact variances and biases, against values from a loop over all tuples."""

import numpy as np
import pytest

from iwae_lab.lessons.discrete import KS, NAMES, WITH_WEIGHT, bias, estimates, targets, variances

# Total variance over q's eight parameters at k = 2, 3, 4, 5, from all 4^k tuples of states.
VARIANCE = {
    "reinforce_iwae": (32.30941617, 39.49319716, 46.82297131, 54.48252769),
    "vimco_arithmetic": (1.13634496, 0.66649414, 0.45312352, 0.34120617),
    "vimco": (1.13634496, 0.49355345, 0.29478725, 0.20557256),
    "rws": (0.84265821, 0.53604444, 0.37695178, 0.28645535),
    "reinforce_loo": (1.38287686, 0.59567541, 0.36519593, 0.25953250),
}


@pytest.mark.parametrize("name", VARIANCE)
def test_variances(name: str) -> None:
    assert variances(name, (2, 3, 4, 5)) == pytest.approx(VARIANCE[name], abs=1e-8)


def test_targets() -> None:
    # By summing over all states, and its derivative.
    assert targets(2).elbo == pytest.approx([-0.09265583, -0.45369282], abs=1e-8)
    assert targets(2).bound == pytest.approx([-0.07859436, -0.24587441], abs=1e-8)
    assert targets(5).bound == pytest.approx([-0.04079783, -0.07741160], abs=1e-8)
    assert targets(10).bound == pytest.approx([-0.02060946, -0.03345818], abs=1e-8)
    assert targets(2).divergence == pytest.approx([-0.12902822, -0.31229755], abs=1e-8)
    assert estimates("rws", 2).mean == pytest.approx([-0.034860, -0.175519], abs=1e-6)
    assert estimates("rws", 5).mean == pytest.approx([-0.085106, -0.278218], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", KS)
def test_what_is_said_to_be_unbiased_is(name: str, k: int) -> None:
    found = estimates(name, k)
    assert found.prob.sum() == pytest.approx(1)
    assert (bias(name, k) < 1e-12) == (name != "rws")


@pytest.mark.parametrize("name", WITH_WEIGHT)
def test_dropping_the_term_biases_by_the_wake_update(name: str) -> None:
    assert bias(name, 2, dropped=True) == pytest.approx(0.18, abs=0.005)
    assert bias(name, 5, dropped=True) == pytest.approx(0.28, abs=0.005)
    for k in (2, 5, 16):
        assert estimates(name, k, dropped=True).mean - targets(k).bound == pytest.approx(
            estimates("rws", k).mean, abs=1e-9
        )


def test_the_noise_of_reinforce_grows_and_that_of_vimco_falls() -> None:
    assert (np.diff(variances("reinforce_iwae")) > 0).all()
    assert (np.diff(variances("vimco")) < 0).all()
