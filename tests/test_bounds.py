"""Bounds against golden values, closed forms, brute force and the identities they must obey."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iwae_core.bounds import effective_sample_size, elbo, iwae_bound, normalized_weights
from iwae_core.curves import bound_curve, nested_curve, nested_grid

SIX = [-1.0, 0.5, 2.0, -3.0, 0.0, 1.5]
SIXTEEN = (np.random.default_rng(12345).standard_normal(16) * 3 - 100).tolist()


def column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def weights(k: int, batch: int, scale: float, seed: int = 0) -> Tensor:
    randomness = torch.Generator().manual_seed(seed)
    return scale * torch.randn(k, batch, dtype=torch.float64, generator=randomness) - 100


def brute_force(log_weights: Tensor, m: int) -> Tensor:
    """The average of the m-sample bound over every m-subset, by visiting them all."""
    subsets = list(combinations(range(len(log_weights)), m))
    return torch.stack([iwae_bound(log_weights[list(subset)]) for subset in subsets]).mean(0)


def test_golden_values_of_six_weights() -> None:
    # Complete U-statistic, KL(uniform || w~) and ESS of a fixed vector, computed independently in float64.
    log_weights = column(SIX)
    expected = [0.0, 0.5839428960, 0.7588389873, 0.8404498682, 0.8854436926, 0.9120907877]
    torch.testing.assert_close(bound_curve(log_weights), column(expected), atol=1e-9, rtol=0)
    assert float(iwae_bound(log_weights) - elbo(log_weights)) == pytest.approx(0.9120907877439066, abs=1e-12)
    assert float(effective_sample_size(log_weights)) == pytest.approx(2.840827065463766, abs=1e-12)
    golden = [0.02462851756, 0.11037735798, 0.49467699885, 0.00333310740, 0.06694725175, 0.30003676655]
    torch.testing.assert_close(normalized_weights(log_weights), column(golden), atol=1e-10, rtol=0)


def test_golden_values_of_sixteen_weights() -> None:
    curve = bound_curve(column(SIXTEEN))[:, 0]
    expected = {
        1: -100.27858551212526,
        2: -98.88870543375792,
        4: -97.70936140727389,
        8: -96.69143318402537,
        16: -95.65448342439227,
    }
    for m, value in expected.items():
        assert float(curve[m - 1]) == pytest.approx(value, abs=1e-9)


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


@pytest.mark.parametrize("scale", [0.1, 5.0, 100.0])
def test_bound_curve_is_the_average_over_all_subsets(scale: float) -> None:
    log_weights = weights(7, 3, scale)
    expected = torch.stack([brute_force(log_weights, m) for m in range(1, 8)])
    torch.testing.assert_close(bound_curve(log_weights), expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("k", [1, 12, 64, 1000])
def test_both_curves_rise_draw_by_draw(k: int, scale: float) -> None:
    log_weights = weights(k, 40, scale)
    few = log_weights[:, :4]
    curves = [(log_weights, nested_curve(log_weights, nested_grid(k)))]
    if k <= 64:
        curves.append((few, bound_curve(few)))
    for values, curve in curves:
        assert (curve.diff(dim=0) >= -1e-10).all()
        torch.testing.assert_close(curve[0], elbo(values))
        torch.testing.assert_close(curve[-1], iwae_bound(values))


def test_nested_curve_averages_cells_inside_blocks() -> None:
    # 1 | 5 | 10: blocks of five; at 2 the ten pairs of each block of five, so 20 pairs of the possible 45.
    log_weights = weights(10, 4, 3.0)
    first, second = log_weights[:5], log_weights[5:]
    expected = torch.stack([(brute_force(first, m) + brute_force(second, m)) / 2 for m in (1, 2, 5)])
    torch.testing.assert_close(nested_curve(log_weights, (1, 2, 5, 10))[:3], expected)


def test_nested_curve_visits_every_subset_where_nothing_divides() -> None:
    log_weights = weights(10, 4, 3.0)
    torch.testing.assert_close(nested_curve(log_weights, (1, 3, 7, 10)), bound_curve(log_weights)[[0, 2, 6, 9]])
    with pytest.raises(ValueError, match="50 cells have more than 1000 subsets of 20"):
        nested_curve(weights(50, 1, 1.0), (1, 20, 50))


def test_nested_curve_is_unbiased() -> None:
    # Exp(1) weights again: at every size of the grid the mean over repetitions is psi(m) - log m.
    repetitions, grid = 20_000, nested_grid(50)
    randomness = torch.Generator().manual_seed(7)
    log_weights = torch.empty(50, repetitions, dtype=torch.float64).exponential_(generator=randomness).log()
    curve = nested_curve(log_weights, grid)
    sizes = torch.tensor(grid, dtype=torch.float64)
    error = (curve.mean(1) - (torch.digamma(sizes) - sizes.log())) / (curve.std(1) / math.sqrt(repetitions))
    assert error.abs().max() < 5


@pytest.mark.parametrize(("k", "grid"), [(1, (1,)), (5, (1, 2, 5)), (64, (1, 2, 4, 8, 16, 32, 64)), (997, (1, 997))])
def test_grids(k: int, grid: tuple[int, ...]) -> None:
    assert nested_grid(k) == grid
    assert nested_grid(5000) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@given(st.integers(1, 2000))
def test_every_k_has_a_grid_that_nests(k: int) -> None:
    grid = nested_grid(k)
    assert grid[0] == 1
    assert grid[-1] == k
    assert len(nested_curve(torch.zeros(k, 1), grid)) == len(grid)


@pytest.mark.parametrize("sizes", [(2, 1), (1, 1, 10), (1, 7), (1, 20), ()])
def test_sizes_that_do_not_nest_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not nest in k = 10 samples; use nested_grid"):
        nested_curve(weights(10, 2, 1.0), sizes)


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
    curve = bound_curve(log_weights)[:, 0]
    assert curve[:2].tolist() == [-math.inf, -math.inf]
    torch.testing.assert_close(curve[2:], torch.stack([brute_force(log_weights, m)[0] for m in (3, 4)]))


def test_impossible_data_give_uniform_weights_not_nan() -> None:
    nothing = torch.full((4, 2), -math.inf)
    assert (iwae_bound(nothing) == -math.inf).all()
    assert (bound_curve(nothing) == -math.inf).all()
    assert (normalized_weights(nothing) == 0.25).all()
    assert (effective_sample_size(nothing) == 4).all()
