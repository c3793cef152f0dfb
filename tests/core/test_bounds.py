"""The two bounds of the paper against golden values and closed forms, and every bound against its identities."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iwae_core.bounds import BOUNDS
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import normalized_weights
from tests.support.known_weights import (
    LOG_EVIDENCE,
    SIX,
    SIXTEEN,
    column,
    counted_mean,
    enumerated_mean,
    gamma_weights,
    normal_weights,
)

INFINITY = math.inf


def test_golden_values_of_fixed_weights() -> None:
    # Computed independently in float64: mean, KL(uniform || w~) and the weights.
    log_weights = column(SIX)
    assert float(elbo(log_weights)) == pytest.approx(0, abs=1e-12)
    assert float(iwae_bound(log_weights)) == pytest.approx(0.9120907877439066, abs=1e-12)
    golden = [0.02462851756, 0.11037735798, 0.49467699885, 0.00333310740, 0.06694725175, 0.30003676655]
    torch.testing.assert_close(normalized_weights(log_weights), column(golden), atol=1e-10, rtol=0)
    assert float(elbo(column(SIXTEEN))) == pytest.approx(-100.27858551212526, abs=1e-12)
    assert float(iwae_bound(column(SIXTEEN))) == pytest.approx(-95.65448342439227, abs=1e-12)


# Gamma(a) weights of mean 1: log p = 0, L_k = psi(k a) - log(k a), the estimator's variance is psi'(k a).
GAMMA = {
    (1, 1): (-0.5772156649, 1.6449340668),
    (1, 2): (-0.2703628455, 0.6449340668),
    (1, 5): (-0.1033202440, 0.2213229557),
    (1, 50): (-0.0100333320, 0.0202013332),
    (0.5, 1): (-1.27036285, 4.9348022005),
    (0.5, 5): (-0.21313409, 0.4903577562),
    (0.5, 50): (-0.02013331, 0.0408106633),
}


@pytest.mark.parametrize(("shape", "k"), GAMMA)
def test_mean_and_variance_under_gamma_weights(shape: float, k: int) -> None:
    repetitions = 100_000
    log_weights = gamma_weights(k, repetitions, shape)
    mean, variance = GAMMA[shape, k]
    bound, average = iwae_bound(log_weights), elbo(log_weights)
    assert float(bound.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / repetitions))
    assert float(bound.var()) == pytest.approx(variance, rel=0.05)
    first, spread = GAMMA[shape, 1]
    assert float(average.mean()) == pytest.approx(first, abs=5 * math.sqrt(spread / k / repetitions))
    assert float(average.var()) == pytest.approx(spread / k, rel=0.05)


# L_k and the variance of its estimator by enumeration, and for large k by quadrature.
ENUMERATED = {
    1: (-2.7810546758529857, 0.9037455937436112),
    2: (-2.583686973338522, 0.44671683277839747),
    3: (-2.5143203288564964, 0.26368639989025344),
    5: (-2.464082437989682, 0.13402827501802883),
    10: (-2.4318498546572527, 0.058293374711103185),
    50: (-2.409392745112978, 0.010550773051107187),
}


@pytest.mark.parametrize("k", ENUMERATED)
def test_mean_and_variance_in_the_enumerable_model(k: int) -> None:
    mean, variance = ENUMERATED[k]
    assert counted_mean(iwae_bound, k) == pytest.approx(mean, abs=1e-9)
    assert counted_mean(lambda values: (iwae_bound(values) - mean).square(), k) == pytest.approx(variance, abs=1e-9)
    assert counted_mean(elbo, k) == pytest.approx(ENUMERATED[1][0], abs=1e-12)
    if k <= 5:
        assert enumerated_mean(iwae_bound, k) == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("name", BOUNDS)
def test_single_precision_keeps_the_digits_of_far_away_weights(name: str) -> None:
    # One rounding near -9000 is 1/2048; no bound and no gradient needs more than that of its result.
    log_weights = -9000 + 3 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    values, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        given = log_weights.to(dtype).requires_grad_()
        values.append(BOUNDS[name](given))
        gradients.append(torch.autograd.grad(values[-1].sum(), given)[0].double())
    assert values[0].dtype == torch.float32
    assert float((values[0].double() - values[1]).detach().abs().max()) <= 2 / 2048
    torch.testing.assert_close(*gradients, rtol=0, atol=3e-6 * float(gradients[1].max()))


def expansion(k: int, m2: float, m3: float, m4: float) -> float:
    """L_k - log p(x) to order k^-3, by the delta method; m2, m3, m4 are the central moments of w / p(x).

    Nowozin 2018, Proposition 1, in the form printed there lacks the 5/2 m2^3 of the last order.
    """
    third = (m4 - 3 * m2**2) / 4 - 2 * m2 * m3 + 5 / 2 * m2**3
    return -m2 / 2 / k + (m3 / 3 - 3 / 4 * m2**2) / k**2 - third / k**3


def test_the_gap_follows_the_delta_method_to_third_order() -> None:
    # For w ~ Exp(1) the moments are 1, 2, 9, the third order vanishes, and psi(k) - log k goes on with 1 / (120 k^4).
    for k in (20, 40):
        exact = float(torch.digamma(torch.tensor(k, dtype=torch.float64))) - math.log(k)
        assert (exact - expansion(k, 1, 2, 9)) * k**4 == pytest.approx(1 / 120, rel=0.02)
    # w = 1/2 or 3/2 with probabilities 0.3 and 0.7, through the code: what is left falls by 2^4 as k doubles.
    w, q = torch.tensor([0.5, 1.5], dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    p = float(w @ q)
    moments = [float((w / p - 1) ** n @ q) for n in (2, 3, 4)]
    rest = [counted_mean(iwae_bound, k, q, w.log()) - math.log(p) - expansion(k, *moments) for k in (40, 80)]
    assert rest[0] / rest[1] == pytest.approx(16, rel=0.1)


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_says_what_it_is(name: str) -> None:
    entry = BOUNDS[name]
    assert all((entry.label, entry.target, entry.equation, entry.source))
    assert entry.function.__doc__


@pytest.mark.parametrize("name", BOUNDS)
def test_what_is_called_a_lower_bound_is_one(name: str) -> None:
    means = [enumerated_mean(BOUNDS[name], k) for k in range(BOUNDS[name].least_k, 7)]
    assert not BOUNDS[name].lower or max(means) < LOG_EVIDENCE
    # Better than one sample, or equal to it.
    assert min(means) > -2.7810546759 - 1e-9


def test_which_are_lower_bounds_and_how_few_samples_each_takes() -> None:
    for entry in BOUNDS.values():  # of weights that are all alike every bound is their logarithm
        torch.testing.assert_close(entry(torch.full((entry.least_k, 1), -3.0)), torch.tensor([-3.0]))
    assert {name for name, entry in BOUNDS.items() if entry.lower} == {
        *("elbo", "iwae", "renyi", "ciwae", "miwae", "thermodynamic"),
    }
    assert {name: entry.least_k for name, entry in BOUNDS.items() if not entry.lower} == {"jackknife": 2, "delta": 2}


def test_settings_have_the_defaults_that_are_told() -> None:
    log_weights = normal_weights(6, 3, 2.0)
    for name, defaults in (
        ("renyi", {"alpha": 0.5}),
        ("ciwae", {"beta": 0.5}),
        ("thermodynamic", {"betas": (0, 0.2, 1), "side": "left"}),
        ("jackknife", {"order": 1}),
    ):
        assert torch.equal(BOUNDS[name](log_weights), BOUNDS[name](log_weights, **defaults)), name


# Subnormal numbers are flushed to zero in every process that trains, and here.
SHIFTS = st.floats(-1000, 1000, allow_subnormal=False)
LOG_WEIGHTS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=1, max_size=8)


@pytest.mark.parametrize("name", BOUNDS)
@settings(max_examples=40)
@given(values=LOG_WEIGHTS, shift=SHIFTS, random=st.randoms())
def test_identities(name: str, values: list[float], shift: float, random: "st.random.Random") -> None:
    bound = BOUNDS[name]
    log_weights = column(values)
    k = len(values)
    if k == 1:
        if bound.least_k > 1:
            with pytest.raises(ValueError, match="1"):
                bound(log_weights)
        else:
            torch.testing.assert_close(bound(log_weights), elbo(log_weights))
        return
    torch.testing.assert_close(bound(log_weights + shift), bound(log_weights) + shift)
    if name != "miwae":
        torch.testing.assert_close(bound(column(random.sample(values, k))), bound(log_weights))
    # All weights equal: nothing to gain.
    torch.testing.assert_close(bound(torch.full_like(log_weights, shift)), torch.full((1,), shift).double())
    if BOUNDS[name].lower:
        assert elbo(log_weights) <= bound(log_weights) + 1e-9
        assert bound(log_weights) <= iwae_bound(log_weights) + 1e-9
    else:
        assert bound(log_weights) >= iwae_bound(log_weights) - 1e-9


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_datum_has_its_own_value(name: str, dtype: torch.dtype) -> None:
    bound = BOUNDS[name]
    log_weights = normal_weights(12, 5, 3.0).to(dtype)
    result = bound(log_weights)
    assert result.dtype == dtype
    alone = torch.cat([bound(log_weights[:, b : b + 1]) for b in range(5)])
    torch.testing.assert_close(result, alone)
    torch.testing.assert_close(result.double(), bound(log_weights.double()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BOUNDS)
def test_gradient(name: str) -> None:
    bound = BOUNDS[name]
    assert torch.autograd.gradcheck(bound, normal_weights(6, 3, 2.0).requires_grad_())
    # A bound that moves with its log-weights has a gradient that sums to one, also where one weight has it all.
    for dtype in (torch.float32, torch.float64):
        for lead in (200.0, -200.0):
            log_weights = torch.zeros(6, 3, dtype=dtype)
            log_weights[1] = lead
            log_weights[:, 2] = lead
            log_weights.requires_grad_()
            bound(log_weights).sum().backward()
            assert log_weights.grad is not None
            torch.testing.assert_close(log_weights.grad.sum(0), torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("name", BOUNDS)
def test_weights_of_zero(name: str) -> None:
    bound = BOUNDS[name]
    log_weights = normal_weights(6, 4, 1.0)
    log_weights[0, 1] = log_weights[1:, 2] = log_weights[:, 3] = -INFINITY
    log_weights.requires_grad_()
    result = bound(log_weights)
    assert not result.isnan().any()
    assert result[3] == -INFINITY, "every weight is zero"
    assert result[0].isfinite(), "no weight is zero"
    if name in {"elbo", "ciwae", "thermodynamic"}:
        assert result[1] == -INFINITY
    else:
        # One weight is zero: as if it were very small.
        small = log_weights.detach().clamp(min=-2000.0)
        torch.testing.assert_close(result[1], bound(small)[1])
    finite = result.isfinite()
    (slope,) = torch.autograd.grad(result[finite].sum(), log_weights)
    assert slope[:, finite].isfinite().all()
