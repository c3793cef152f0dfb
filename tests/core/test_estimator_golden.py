"""Means and variances of gradient estimators against values computed independently of this program."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.weights import normalized_weights
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import Model
from iwae_core.models.toys import line
from tests.support.enumeration import Tuples, case, each_gradient, expected_gradient, gradient, tuples, variance

# Exact values of the one-pixel, one-unit model, phi = (mu, log tau), from quadrature independent of this program.
LINE_MEANS = {
    ("iwae", 2): (0.66601081, -0.46439742),
    ("iwae_one_sample", 2): (0.66601081, -0.46439742),
    ("dreg", 2): (0.66601081, -0.46439742),
    ("reinforce_iwae", 2): (0.66601081, -0.46439742),
    ("stl", 2): (1.07268504, -0.77431191),
    ("rws", 2): (0.40667422, -0.30991446),
    ("rws_dreg", 2): (0.40667422, -0.30991446),
    ("vae", 2): (1.806, -1.8032),
    ("vae_path", 2): (1.806, -1.8032),
    ("vae_analytic_kl", 2): (1.806, -1.8032),
}
LINE_VARIANCES = {
    "iwae": (5.06309, 3.76973),
    "dreg": (1.27403, 0.89879),
    "stl": (2.09506, 1.60290),
    "rws": (0.64433, 0.62617),
    "rws_dreg": (0.26082, 0.20132),
    "iwae_one_sample": (7.17331, 5.30152),
    "reinforce_iwae": (33.0600, 45.2879),
    "vae": (6.13901, 8.90165),
    "vae_path": (2.54026, 4.29525),
    "vae_analytic_kl": (3.65581, 6.09871),
}


@pytest.mark.parametrize(("name", "k"), LINE_MEANS)
def test_golden_means(name: str, k: int) -> None:
    found, every = case("line", k)
    mean = expected_gradient(ESTIMATORS[name], found.model, every, "phi", found.model.phi)
    assert torch.cat(mean).tolist() == pytest.approx(LINE_MEANS[name, k], abs=3e-8)


def test_golden_means_at_three_samples() -> None:
    toy = line()
    every = tuples(toy.model, toy.x, 3, spacing=0.3, reach=6.0)
    expected = {"dreg": (0.34959968, -0.20806900), "stl": (0.869149, -0.562883), "rws": (0.519549, -0.354814)}
    for name, golden in expected.items():
        mean = expected_gradient(ESTIMATORS[name], toy.model, every, "phi", toy.model.phi)
        assert torch.cat(mean).tolist() == pytest.approx(golden, abs=2e-5)
    (a, *_) = expected_gradient(ESTIMATORS["iwae"], toy.model, every, "theta", toy.model.theta)
    assert float(a) == pytest.approx(-0.30827947, abs=2e-5)


@pytest.mark.parametrize("name", LINE_VARIANCES)
def test_golden_variances(name: str) -> None:
    toy = line()
    every = tuples(toy.model, toy.x, 2)
    found = variance(ESTIMATORS[name], toy.model, every, "phi", toy.model.phi)
    assert torch.cat(found).tolist() == pytest.approx(LINE_VARIANCES[name], rel=2e-4)


def test_golden_variances_of_the_decoder() -> None:
    toy = line()
    every = tuples(toy.model, toy.x, 2)
    weight = toy.model.theta[0]
    for name, golden in {"iwae": 1.36466, "iwae_one_sample": 1.95802, "dreg": 1.36466}.items():
        assert float(variance(ESTIMATORS[name], toy.model, every, "theta", [weight])[0]) == pytest.approx(
            golden, rel=1e-3
        )


# Total variance over the eight coordinates of phi, by enumeration.
DISCRETE_VARIANCES = {
    "reinforce_iwae": (32.30941617, 39.49319716, 46.82297131),
    "vimco_arithmetic": (1.13634496, 0.66649414, 0.45312352),
    "vimco": (1.13634496, 0.49355345, 0.29478725),
    "rws": (0.84265821, 0.53604444, 0.37695178),
    "reinforce_loo": (1.38287686, 0.59567541, 0.36519593),
}


@pytest.mark.parametrize("name", DISCRETE_VARIANCES)
def test_golden_variances_of_discrete_estimators(name: str) -> None:
    for k, golden in zip((2, 3, 4), DISCRETE_VARIANCES[name], strict=True):
        found, every = case("enumerable", k)
        total = sum(
            float(part.sum()) for part in variance(ESTIMATORS[name], found.model, every, "phi", found.model.phi)
        )
        assert total == pytest.approx(golden, abs=1e-7)


def test_golden_variance_of_plain_reinforce() -> None:
    # The golden values keep the score inside log w, whose mean is zero: that is a baseline of one.
    for k, golden in zip((2, 3, 4), (11.65801240, 7.77200827, 5.82900620), strict=True):
        found, (x, noise, prob) = case("enumerable", k)
        draws = replace(found.model.draw(x, noise, "score"), baseline=1.0)
        phi = [each_gradient(ESTIMATORS["reinforce_running"](draws).phi, p, True) for p in found.model.phi]
        total = sum(float((prob * d.square()).sum() - (prob * d).sum() ** 2) for part in phi for _, d in part)
        assert total == pytest.approx(golden, abs=1e-7)


def test_golden_variance_of_the_one_sample_backward_pass() -> None:
    # Total variance over the parameters of the generative network; the full IWAE gradient beside it.
    golden = {2: (0.67447008, 1.02743910), 3: (0.40751512, 0.90959958), 4: (0.27639547, 0.85178238)}
    for k, (full, one) in golden.items():
        found, every = case("enumerable", k)
        vimco = variance(ESTIMATORS["vimco"], found.model, every, "theta", found.model.theta)
        assert float(sum(part.sum() for part in vimco)) == pytest.approx(full, abs=1e-7)
        # The paper's trick for theta needs no reparameterisation: keep one sample, differentiate log p of it.
        x, noise, prob = every
        log_p, weights = found.model.draw(x, noise, "score").log_p, normalized(found.model, every)
        mean = [part.clone() for part in gradient((prob * weights * log_p).sum(), found.model.theta)]
        square = sum(
            float((prob * weights[i] * derivative.square()).sum())
            for i in range(k)
            for parameter in found.model.theta
            for _, derivative in each_gradient(log_p[i], parameter, True)
        )
        assert square - sum(float(part.square().sum()) for part in mean) == pytest.approx(one, abs=1e-7)


def normalized(model: Model, every: Tuples) -> Tensor:
    with torch.no_grad():
        return normalized_weights(model.draw(every.x, every.noise).log_weights)


def test_golden_bias_of_reweighted_wake_sleep() -> None:
    # Its mean on the bias of q goes from zero at k = 1 towards minus the gradient of KL(p || q).
    golden = {
        1: (0.0, 0.0),
        2: (-0.034860, -0.175519),
        3: (-0.058766, -0.238023),
        5: (-0.085106, -0.278218),
    }
    for k, wanted in golden.items():
        found, every = case("enumerable", k)
        bias = [found.model.phi[1]]
        mean = expected_gradient(ESTIMATORS["rws"], found.model, every, "phi", bias)
        assert mean[0].tolist() == pytest.approx(wanted, abs=6e-7)
