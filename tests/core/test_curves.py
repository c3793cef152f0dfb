"""Bounds at every size from one set of weights, against golden values, brute force and what must hold draw by draw."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iwae_core.bounds.curves import bound_curve, leave_one_out, nested_curve, nested_grid
from iwae_core.bounds.lower import elbo, iwae_bound
from tests.support.known_weights import SIX, SIXTEEN, brute_force, column, gamma_weights, normal_weights


def test_golden_values_of_six_weights() -> None:
    # The complete U-statistic of a fixed vector, computed independently in float64.
    expected = [0.0, 0.5839428960, 0.7588389873, 0.8404498682, 0.8854436926, 0.9120907877]
    torch.testing.assert_close(bound_curve(column(SIX)), column(expected), atol=1e-9, rtol=0)


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


@pytest.mark.parametrize("scale", [0.1, 5.0, 100.0])
def test_bound_curve_is_the_average_over_all_subsets(scale: float) -> None:
    log_weights = normal_weights(7, 3, scale)
    expected = torch.stack([brute_force(log_weights, m) for m in range(1, 8)])
    torch.testing.assert_close(bound_curve(log_weights), expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("smallest", range(1, 9))
def test_the_largest_sizes_alone(smallest: int) -> None:
    log_weights = normal_weights(8, 3, 5.0)
    log_weights[:2, 1] = -math.inf
    whole = bound_curve(log_weights)
    torch.testing.assert_close(bound_curve(log_weights, smallest), whole[smallest - 1 :], atol=1e-12, rtol=0)


def test_the_curve_of_a_datum_does_not_depend_on_the_others() -> None:
    # 40 data of 50 sizes pass in several blocks, each with a range of integration of its own.
    log_weights = normal_weights(50, 40, 5.0) * torch.linspace(0.1, 10.0, 40)
    alone = torch.cat([bound_curve(column) for column in log_weights.split(1, 1)], 1)
    torch.testing.assert_close(bound_curve(log_weights), alone, atol=1e-11, rtol=0)


@pytest.mark.parametrize("smallest", [0, 9])
def test_sizes_out_of_range_are_refused(smallest: int) -> None:
    with pytest.raises(ValueError, match=f"smallest size must be from 1 to k = 8; got {smallest}"):
        bound_curve(normal_weights(8, 1, 1.0), smallest)


@pytest.mark.parametrize("scale", [0.1, 5.0, 1000.0])
def test_leaving_one_out(scale: float) -> None:
    log_weights = normal_weights(6, 5, scale)
    others = [torch.cat([log_weights[:i], log_weights[i + 1 :]]) for i in range(6)]
    expected = torch.stack([iwae_bound(rest) for rest in others])
    torch.testing.assert_close(leave_one_out(log_weights), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(leave_one_out(log_weights).mean(0), bound_curve(log_weights)[-2], atol=1e-9, rtol=0)


def test_leaving_one_out_in_float32_where_one_weight_has_it_all() -> None:
    # 1 - w~ is exactly zero for the first, and its logarithm -inf.
    log_weights = torch.tensor([[200.0], [0.0], [0.0]], requires_grad=True)
    result = leave_one_out(log_weights)
    assert result[:, 0].tolist() == pytest.approx([0.0, 200 - math.log(2), 200 - math.log(2)])
    (slope,) = torch.autograd.grad(result.sum(), log_weights)
    assert slope[:, 0].tolist() == pytest.approx([2.0, 0.5, 0.5])


def test_leaving_one_out_of_weights_of_zero() -> None:
    log_weights = torch.tensor([[-math.inf, 0.0, 0.0], [-math.inf, -math.inf, 0.0], [-math.inf, -math.inf, -math.inf]])
    expected = torch.tensor([[-math.inf, -math.inf, 0.0], [-math.inf, 0.0, 0.0], [-math.inf, 0.0, math.log(2)]])
    torch.testing.assert_close(leave_one_out(log_weights), expected - math.log(2))
    with pytest.raises(ValueError, match="leaving one sample out needs at least 2; got 1"):
        leave_one_out(torch.zeros(1, 1))


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("k", [1, 12, 64, 1000])
def test_both_curves_rise_draw_by_draw(k: int, scale: float) -> None:
    log_weights = normal_weights(k, 40, scale)
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
    log_weights = normal_weights(10, 4, 3.0)
    first, second = log_weights[:5], log_weights[5:]
    expected = torch.stack([(brute_force(first, m) + brute_force(second, m)) / 2 for m in (1, 2, 5)])
    torch.testing.assert_close(nested_curve(log_weights, (1, 2, 5, 10))[:3], expected)


def test_nested_curve_visits_every_subset_where_nothing_divides() -> None:
    log_weights = normal_weights(10, 4, 3.0)
    torch.testing.assert_close(nested_curve(log_weights, (1, 3, 7, 10)), bound_curve(log_weights)[[0, 2, 6, 9]])
    with pytest.raises(ValueError, match="50 cells have more than 1000 subsets of 20"):
        nested_curve(normal_weights(50, 1, 1.0), (1, 20, 50))


def test_nested_curve_is_unbiased() -> None:
    # Exp(1) weights again: at every size of the grid the mean over repetitions is psi(m) - log m.
    repetitions, grid = 20_000, nested_grid(50)
    log_weights = gamma_weights(50, repetitions, 1, seed=7)
    curve = nested_curve(log_weights, grid)
    sizes = torch.tensor(grid, dtype=torch.float64)
    error = (curve.mean(1) - (torch.digamma(sizes) - sizes.log())) / (curve.std(1) / math.sqrt(repetitions))
    assert error.abs().max() < 5


@pytest.mark.parametrize(
    ("k", "grid"), [(1, (1,)), (5, (1, 2, 5)), (11, (1, 2, 5, 11)), (64, (1, 2, 4, 8, 16, 32, 64)), (997, (1, 997))]
)
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
        nested_curve(normal_weights(10, 2, 1.0), sizes)


def test_weights_of_zero_are_survived() -> None:
    log_weights = column([-math.inf, 0.0, -math.inf, math.log(3.0)])
    curve = bound_curve(log_weights)[:, 0]
    assert curve[:2].tolist() == [-math.inf, -math.inf]
    torch.testing.assert_close(curve[2:], torch.stack([brute_force(log_weights, m)[0] for m in (3, 4)]))
    nested = nested_curve(log_weights, (1, 2, 4))[:, 0]
    torch.testing.assert_close(nested, torch.tensor([-math.inf, math.log(3) / 2 - math.log(2), 0.0]).double())
    nothing = torch.full((4, 2), -math.inf)
    assert (bound_curve(nothing) == -math.inf).all()
    assert (nested_curve(nothing, (1, 2, 4)) == -math.inf).all()


def test_the_curve_of_hundreds_of_samples_keeps_its_digits() -> None:
    # At m = k it is the bound itself, and at m = 1 the average of the logs; the range of the integral grows with k.
    log_weights = torch.randn(400, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 500
    curve = bound_curve(log_weights)
    torch.testing.assert_close(curve[-1], iwae_bound(log_weights), rtol=0, atol=1e-11)
    torch.testing.assert_close(curve[0], log_weights.mean(0), rtol=0, atol=1e-11)


def test_single_precision_stays_single_and_keeps_its_digits_far_away() -> None:
    log_weights = -9000 + torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    for function in (leave_one_out, bound_curve):
        assert function(log_weights).dtype == torch.float32
        torch.testing.assert_close(function(log_weights).double(), function(log_weights.double()), rtol=0, atol=1e-3)
    single, double = (log_weights.to(dtype).requires_grad_() for dtype in (torch.float32, torch.float64))
    found, wanted = (torch.autograd.grad(leave_one_out(given)[1:].sum(), given)[0] for given in (single, double))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)


def test_a_thousand_subsets_are_visited_and_no_more() -> None:
    log_weights = torch.randn(1001, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert nested_curve(log_weights[:1000], (1, 999, 1000)).shape == (3, 1)
    with pytest.raises(ValueError, match="1001 cells have more than 1000 subsets of 1000"):
        nested_curve(log_weights, (1, 1000, 1001))
