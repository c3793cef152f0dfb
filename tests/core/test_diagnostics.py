"""Diagnostics of weights against golden values, closed forms and the limits they must keep."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iwae_core.bounds.corrected import delta_method_bound
from iwae_core.bounds.diagnostics import (
    effective_sample_size,
    kl_from_uniform,
    largest_weight,
    pareto_k_hat,
    perplexity,
    plug_in_bias,
    plug_in_variance,
    squared_coefficient_of_variation,
)
from iwae_core.bounds.lower import elbo, iwae_bound
from tests.support.known_weights import SIX, column, gamma_weights, normal_weights

NEEDS_TWO = [squared_coefficient_of_variation, plug_in_variance, plug_in_bias]
DIAGNOSTICS = [effective_sample_size, perplexity, largest_weight, kl_from_uniform, *NEEDS_TWO, pareto_k_hat]
Diagnostic = Callable[[Tensor], Tensor]


def test_golden_values_of_six_weights() -> None:
    # Computed independently in float64; CV^2 from ESS.
    log_weights = column(SIX)
    assert float(effective_sample_size(log_weights)) == pytest.approx(2.840827065463766, abs=1e-12)
    assert float(perplexity(log_weights)) == pytest.approx(3.4690482276, abs=1e-10)
    assert float(largest_weight(log_weights)) == pytest.approx(0.4946769989, abs=1e-10)
    assert float(kl_from_uniform(log_weights)) == pytest.approx(0.9120907877439066, abs=1e-12)
    squared = 6 * (6 / 2.840827065463766 - 1) / 5
    assert float(squared_coefficient_of_variation(log_weights)) == pytest.approx(squared, abs=1e-12)
    assert float(plug_in_variance(log_weights)) == pytest.approx(squared / 6, abs=1e-12)
    assert float(plug_in_bias(log_weights)) == pytest.approx(-squared / 12, abs=1e-12)


SHIFTS = st.floats(-1000, 1000, allow_subnormal=False)
LOG_WEIGHTS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=8)


@given(LOG_WEIGHTS, SHIFTS, st.randoms())
def test_identities(values: list[float], shift: float, random: "st.random.Random") -> None:
    log_weights, k = column(values), len(values)
    for diagnostic in DIAGNOSTICS[:-1]:
        torch.testing.assert_close(diagnostic(log_weights + shift), diagnostic(log_weights))
        torch.testing.assert_close(diagnostic(column(random.sample(values, k))), diagnostic(log_weights))
    ess, entropic = effective_sample_size(log_weights), perplexity(log_weights)
    assert 1 - 1e-9 <= ess <= entropic + 1e-9 <= k + 2e-9
    assert 1 / k - 1e-9 <= largest_weight(log_weights) <= 1 + 1e-9
    gap = iwae_bound(log_weights) - elbo(log_weights)
    torch.testing.assert_close(kl_from_uniform(log_weights), gap, atol=1e-8, rtol=1e-8)
    assert 0 <= squared_coefficient_of_variation(log_weights) <= k + 1e-9
    corrected = iwae_bound(log_weights) - plug_in_bias(log_weights)
    torch.testing.assert_close(delta_method_bound(log_weights), corrected)


@pytest.mark.parametrize(("shape", "k"), [(1, 5), (1, 100), (0.5, 20)])
def test_mean_of_the_plug_in_estimates(shape: float, k: int) -> None:
    # For Gamma(a) weights w~ is Dirichlet(a, ..., a): E CV^2 = k / (k a + 1), and chi^2 = 1 / a is its limit.
    variance = plug_in_variance(gamma_weights(k, 50_000, shape))
    stderr = float(variance.std()) / math.sqrt(len(variance))
    assert float(variance.mean()) == pytest.approx(1 / (k * shape + 1), abs=5 * stderr)


def test_plug_in_estimates_at_large_k() -> None:
    # Exp(1) weights, k = 5000: the estimator's variance is psi'(k), its bias psi(k) - log k.
    log_weights = gamma_weights(5000, 200, 1)
    assert float(plug_in_variance(log_weights).mean()) == pytest.approx(0.00020002, rel=0.02)
    assert float(plug_in_bias(log_weights).mean()) == pytest.approx(-0.0001000033, rel=0.02)


def test_equal_weights_and_a_single_weight() -> None:
    equal, single = torch.full((40, 1), -90.0), torch.full((40, 1), -300.0)
    single[7] = -90.0
    expected = [(40, 1), (40, 1), (1 / 40, 1), (0, 39 / 40 * 210 - math.log(40)), (0, 40), (0, 1), (0, -1 / 2)]
    for diagnostic, (of_equal, of_single) in zip(DIAGNOSTICS, expected, strict=False):
        assert float(diagnostic(equal)) == pytest.approx(of_equal, abs=1e-5)
        assert float(diagnostic(single)) == pytest.approx(of_single, abs=1e-5)
    nearly = -90 + 1e-5 * torch.randn(40, 1000, generator=torch.Generator().manual_seed(0))
    assert (kl_from_uniform(nearly) >= 0).all(), "also where rounding would take it below"
    assert pareto_k_hat(equal) < -1
    assert pareto_k_hat(single) > 5


@pytest.mark.parametrize("diagnostic", DIAGNOSTICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_zero_and_precision(diagnostic: Diagnostic, dtype: torch.dtype) -> None:
    log_weights = normal_weights(50, 4, 2.0).to(dtype)
    log_weights[:20, 1] = log_weights[1:, 2] = log_weights[:, 3] = -math.inf
    result = diagnostic(log_weights)
    assert result.dtype == dtype
    assert not result.isnan().any()
    # As if they were very small; without any weight above zero, as if all were equal.
    alike = log_weights.double().clamp(min=-2000.0)
    if diagnostic is kl_from_uniform:
        assert (result[1:3] == math.inf).all()
        alike = alike[:, [0, 3]]
        result = result[[0, 3]]
    torch.testing.assert_close(result.double(), diagnostic(alike), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("diagnostic", NEEDS_TWO)
def test_one_sample_has_no_spread(diagnostic: Diagnostic) -> None:
    with pytest.raises(ValueError, match="needs at least 2 samples; got 1"):
        diagnostic(torch.zeros(1, 3))


# Weights at the quantiles of a Pareto distribution, w_i = u_i^-shape with u_i = (i - 1/2) / k.
K_HATS = {
    100: [0.319621, 0.491960, 0.606289, 0.777800],
    1000: [0.236788, 0.497086, 0.670658, 0.931073],
    5000: [0.217527, 0.498771, 0.686253, 0.967432],
}


@pytest.mark.parametrize("k", K_HATS)
def test_golden_values_of_k_hat(k: int) -> None:
    u = (torch.arange(1, k + 1, dtype=torch.float64) - 0.5) / k
    log_weights = torch.stack([-shape * u.log() for shape in (0.2, 0.5, 0.7, 1.0)], 1)
    expected = torch.tensor(K_HATS[k], dtype=torch.float64)
    torch.testing.assert_close(pareto_k_hat(log_weights), expected, atol=1e-6, rtol=0)
    shuffled = log_weights[torch.randperm(k, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(pareto_k_hat(shuffled - 700), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("k", [25, 100, 1100, 5000])
@pytest.mark.parametrize(("dtype", "noise"), [(torch.float32, 5e-6), (torch.float64, 1e-14), (torch.float64, 0.0)])
def test_rounding_errors_are_no_tail(k: int, dtype: torch.dtype, noise: float) -> None:
    # A perfect q: every weight is p(x), but for the rounding of log-weights near -100.
    # At k = 1100 one rate of the fit's grid is exactly zero.
    log_weights = -100 + noise * torch.randn(k, 20, dtype=dtype, generator=torch.Generator().manual_seed(k))
    assert (pareto_k_hat(log_weights) < 0).all()


def test_k_hat_of_few_samples_is_no_number() -> None:
    few = pareto_k_hat(normal_weights(24, 3, 1.0))
    assert few.shape == (3,)
    assert few.isnan().all()
    assert pareto_k_hat(normal_weights(25, 3, 1.0)).isfinite().all()


@pytest.mark.parametrize(("scale", "ess", "k_hat"), [(0.188, 48.0, 1.49), (0.23, 46.8, 0.32)])
def test_a_missed_mode_is_not_seen_in_the_weights(scale: float, ess: float, k_hat: float) -> None:
    # h ~ N(0, 1), x | h ~ N(h^2, 1/4), x = 2: the posterior has modes at +-1.33 and log p(x) = -2.16932761. With one
    # mode covered the bound stays log 2 below, ESS is near 50 of 50, and k-hat complains only if q is narrow as well.
    noise = torch.randn(5000, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    h = 1.33 + scale * noise
    log_p = -(h**2) / 2 - 2 * (2 - h**2) ** 2 - math.log(math.pi)
    log_q = -(noise**2) / 2 - math.log(scale) - math.log(2 * math.pi) / 2
    log_weights = log_p - log_q
    assert float(iwae_bound(log_weights).mean()) == pytest.approx(-2.16932761 - math.log(2), abs=0.002)
    assert float(effective_sample_size(log_weights[:50]).mean()) == pytest.approx(ess, abs=0.3)
    assert float(pareto_k_hat(log_weights[:1000]).median()) == pytest.approx(k_hat, abs=0.1)


def test_two_nearly_equal_weights() -> None:
    # w~ = 1/2 +- d: every diagnostic by hand, where differences are small and at the least k that has any.
    d = 0.01
    log_weights = torch.tensor([[0.5 + d], [0.5 - d]], dtype=torch.float64).log() - 7
    assert kl_from_uniform(log_weights).item() == pytest.approx(-0.5 * math.log(1 - 4 * d * d))
    assert squared_coefficient_of_variation(log_weights).item() == pytest.approx(8 * d * d)
    assert plug_in_variance(log_weights).item() == pytest.approx(4 * d * d)
    assert plug_in_bias(log_weights).item() == pytest.approx(-2 * d * d)
    assert effective_sample_size(log_weights).item() == pytest.approx(1 / (0.5 + 2 * d * d))
    assert largest_weight(log_weights).item() == pytest.approx(0.5 + d)
