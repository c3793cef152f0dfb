"""Bounds against golden values, closed forms, brute force and the identities they must obey."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known_weights import SIX, column

from iwae_core.bounds import effective_sample_size, elbo, iwae_bound, normalized_weights


def test_golden_values_of_six_weights() -> None:
    # KL(uniform || w~) and ESS of a fixed vector, computed independently in float64.
    log_weights = column(SIX)
    assert float(iwae_bound(log_weights) - elbo(log_weights)) == pytest.approx(0.9120907877439066, abs=1e-12)
    assert float(effective_sample_size(log_weights)) == pytest.approx(2.840827065463766, abs=1e-12)
    golden = [0.02462851756, 0.11037735798, 0.49467699885, 0.00333310740, 0.06694725175, 0.30003676655]
    torch.testing.assert_close(normalized_weights(log_weights), column(golden), atol=1e-10, rtol=0)


@pytest.mark.parametrize("k", [1, 2, 5, 10, 50])
def test_means_and_variance_agree_with_the_closed_form_of_exponential_weights(k: int) -> None:
    # For w ~ Exp(1), log p = 0, L_k = psi(k) - log k, the estimator's variance is psi'(k), and E log w = psi(1).
    repetitions = 200_000
    randomness = torch.Generator().manual_seed(k)
    log_weights = torch.empty(k, repetitions, dtype=torch.float64).exponential_(generator=randomness).log()
    psi = float(torch.digamma(torch.tensor(k, dtype=torch.float64)))
    variance = float(torch.polygamma(1, torch.tensor(k, dtype=torch.float64)))
    bound, average = iwae_bound(log_weights), elbo(log_weights)
    assert float(bound.mean()) == pytest.approx(psi - math.log(k), abs=5 * math.sqrt(variance / repetitions))
    assert float(bound.var()) == pytest.approx(variance, rel=0.05)
    assert float(average.mean()) == pytest.approx(-0.5772156649, abs=5 * math.sqrt(1.6449 / k / repetitions))


# Subnormal numbers are flushed to zero in every process that trains, and here.
SHIFTS = st.floats(-1000, 1000, allow_subnormal=False)
LOG_WEIGHTS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=1, max_size=8)


@given(LOG_WEIGHTS, SHIFTS, st.randoms())
def test_identities(values: list[float], shift: float, random: "st.random.Random") -> None:
    log_weights = column(values)
    k = len(values)
    shuffled = column(random.sample(values, k))
    for bound in (elbo, iwae_bound):
        torch.testing.assert_close(bound(log_weights + shift), bound(log_weights) + shift)
        torch.testing.assert_close(bound(shuffled), bound(log_weights))
    assert elbo(log_weights) <= iwae_bound(log_weights) + 1e-9
    # Same samples: the difference is exactly KL(uniform || w~).
    kl = -torch.log(k * normalized_weights(log_weights)).mean(0)
    torch.testing.assert_close(iwae_bound(log_weights) - elbo(log_weights), kl, atol=1e-8, rtol=1e-8)
    assert 1 - 1e-9 <= effective_sample_size(log_weights) <= k + 1e-9
    torch.testing.assert_close(effective_sample_size(log_weights + shift), effective_sample_size(log_weights))


def test_weights_of_zero_are_survived() -> None:
    log_weights = column([-math.inf, 0.0, -math.inf, math.log(3.0)])
    assert elbo(log_weights) == -math.inf
    assert float(iwae_bound(log_weights)) == pytest.approx(0.0)
    assert normalized_weights(log_weights)[:, 0].tolist() == pytest.approx([0, 0.25, 0, 0.75])


def test_impossible_data_give_uniform_weights_not_nan() -> None:
    nothing = torch.full((4, 2), -math.inf)
    assert (iwae_bound(nothing) == -math.inf).all()
    assert (normalized_weights(nothing) == 0.25).all()
    assert (effective_sample_size(nothing) == 4).all()
