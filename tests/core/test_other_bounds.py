"""Bounds with parameters and corrected estimates, against golden values, closed forms and enumeration."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iwae_core.bounds.corrected import delta_method_bound, jackknife_bound
from iwae_core.bounds.curves import bound_curve
from iwae_core.bounds.lower import (
    balanced_repeats,
    ciwae_bound,
    elbo,
    iwae_bound,
    miwae_bound,
    renyi_bound,
    thermodynamic_bound,
)
from iwae_core.bounds.weights import normalized_weights
from tests.support.known_weights import (
    LOG_EVIDENCE,
    SIX,
    STATES,
    Q,
    brute_force,
    column,
    counted_mean,
    enumerated_mean,
    gamma_weights,
    normal_weights,
)

INFINITY = math.inf
# Weights in the proportions of q: means over them are means under q to within 1e-5.
POPULATION = STATES.repeat_interleave((Q * 1e5).round().long())[:, None]


# log E_q w^(1 - alpha) / (1 - alpha) of the enumerable model; at alpha = 0 log p(x).
@pytest.mark.parametrize(("alpha", "value"), [(2, -3.21017431), (0.5, -2.57033492), (0, LOG_EVIDENCE), (-1, -2.196277)])
def test_renyi_of_very_many_samples(alpha: float, value: float) -> None:
    assert float(renyi_bound(POPULATION, alpha)) == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(
    ("alpha", "k", "value"),
    [(0.5, 2, -2.67232796), (0.5, 5, -2.60857166), (-1, 2, -2.47434474), (-1, 50, -2.20194506)],
)
def test_mean_of_renyi(alpha: float, k: int, value: float) -> None:
    assert counted_mean(lambda values: renyi_bound(values, alpha), k) == pytest.approx(value, abs=1e-8)


def test_mean_of_renyi_rises_with_k_below_order_one_and_falls_above() -> None:
    for alpha, sign in ((-1, 1), (0.5, 1), (2, -1)):
        means = [counted_mean(lambda values, alpha=alpha: renyi_bound(values, alpha), k) for k in (1, 2, 5, 10)]
        assert all(sign * (b - a) > 0.01 for a, b in pairwise(means))


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1000.0])
def test_renyi_at_its_limits(scale: float) -> None:
    log_weights = normal_weights(50, 20, scale)
    torch.testing.assert_close(renyi_bound(log_weights, 0), iwae_bound(log_weights), atol=1e-11, rtol=0)
    assert torch.equal(renyi_bound(log_weights, 1), elbo(log_weights))
    for alpha, extreme in ((-1e6, log_weights.amax(0)), (1e6, log_weights.amin(0))):
        assert torch.equal(renyi_bound(log_weights, math.copysign(INFINITY, alpha)), extreme)
        torch.testing.assert_close(renyi_bound(log_weights, alpha), extreme, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("distance", [1e-3, 1e-6, -1e-6, 1e-7, 1e-12, -1e-15])
def test_renyi_near_order_one(distance: float, dtype: torch.dtype) -> None:
    # Cumulants of log w: mean + s var / 2 + O(s^2), s = 1 - alpha. log k / s would drown it, at 1e-6 by half a nat.
    log_weights = normal_weights(50, 20, 1.0).to(dtype)
    values = log_weights.double()
    power = 1 - (1 - distance)
    expected = values.mean(0) + power * values.var(0, correction=0) / 2
    result = renyi_bound(log_weights, 1 - distance)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, atol=2e-5 if dtype == torch.float32 else 1e-6, rtol=0)


ORDERS = st.floats(-20, 20, allow_subnormal=False)


@given(st.tuples(ORDERS, ORDERS))
def test_renyi_never_rises_with_its_order(alphas: tuple[float, float]) -> None:
    log_weights = normal_weights(6, 20, 5.0)
    low, high = sorted(alphas)
    assert (renyi_bound(log_weights, low) >= renyi_bound(log_weights, high) - 1e-9).all()


def test_ciwae_lies_between_the_two_bounds() -> None:
    log_weights = column(SIX)
    assert float(ciwae_bound(log_weights, 0.25)) == pytest.approx(0.75 * 0.9120907877439066)
    assert torch.equal(ciwae_bound(log_weights, 1), elbo(log_weights))
    assert torch.equal(ciwae_bound(log_weights, 0), iwae_bound(log_weights))
    zero = column([-INFINITY, 0.0])
    assert ciwae_bound(zero) == -INFINITY
    assert float(ciwae_bound(zero, 0)) == pytest.approx(-math.log(2))


@pytest.mark.parametrize(("repeats", "size"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_miwae_estimates_the_bound_of_its_groups(repeats: int, size: int) -> None:
    # M = 2 groups of K = 3 and M = 3 of K = 2 differ: L_3 and L_2.
    mean = enumerated_mean(lambda values: miwae_bound(values, repeats), 6)
    assert mean == pytest.approx(counted_mean(iwae_bound, size), abs=1e-12)
    groups = torch.stack([iwae_bound(part) for part in column(SIX).split(size)])
    torch.testing.assert_close(miwae_bound(column(SIX), repeats), groups.mean(0))


def test_miwae_in_single_precision_loses_only_the_last_digit() -> None:
    single = torch.randn(60, 100, generator=torch.Generator().manual_seed(0)) - 90
    assert torch.equal(miwae_bound(single, 5), miwae_bound(single.double(), 5).float())


@pytest.mark.parametrize(("k", "repeats"), [(1, 1), (2, 1), (7, 1), (12, 3), (50, 5), (64, 8), (5000, 50)])
def test_balanced_repeats(k: int, repeats: int) -> None:
    assert balanced_repeats(k) == repeats
    divisors = [m for m in range(1, k + 1) if k % m == 0]
    assert repeats == min(divisors, key=lambda m: abs(m - math.sqrt(k)))
    log_weights = normal_weights(k, 2, 1.0)
    assert torch.equal(miwae_bound(log_weights), miwae_bound(log_weights, repeats))


# sum_j (beta_{j+1} - beta_j) E log w under the densities proportional to q^(1 - beta) p(x, z)^beta, by enumeration.
TENTHS = tuple(j / 10 for j in range(11))
RIEMANN = [
    ((0, 1), "left", -2.7810546759),
    ((0, 1), "right", -2.1201976991),
    ((0, 0.5, 1), "left", -2.5804032349),
    ((0, 0.5, 1), "right", -2.2499747465),
    (TENTHS, "left", -2.4376440866),
    (TENTHS, "right", -2.3715583889),
    ((0, 0.2, 1), "left", -2.6413073100),
]


@pytest.mark.parametrize(("betas", "side", "value"), RIEMANN)
def test_thermodynamic_sums_of_very_many_samples(betas: tuple[float, ...], side: str, value: float) -> None:
    assert float(thermodynamic_bound(POPULATION, betas, side)) == pytest.approx(value, abs=1e-5)


def test_thermodynamic_sums_close_in_on_the_importance_weighted_bound() -> None:
    log_weights = normal_weights(20, 50, 3.0)
    bound = iwae_bound(log_weights)
    widths = []
    for betas in ((0, 1), (0, 0.2, 1), (0, 0.2, 0.5, 1), tuple(j / 100 for j in range(101))):
        left, right = (thermodynamic_bound(log_weights, betas, side) for side in ("left", "right"))
        assert (left <= bound).all()
        assert (bound <= right).all()
        widths.append((right - left).mean())
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.2
    torch.testing.assert_close(thermodynamic_bound(log_weights, (0, 1)), elbo(log_weights))


def sharot(k: int, order: int) -> list[float]:
    """The jackknife's coefficients of the bounds of k, k - 1, ..., k - order samples."""
    return [(-1) ** j * (k - j) ** order / math.factorial(order - j) / math.factorial(j) for j in range(order + 1)]


@pytest.mark.parametrize(
    ("order", "value"), [(1, 1.0453262635387963), (2, 1.0051408101684274), (3, 0.9746579109276436)]
)
def test_golden_values_of_the_jackknife(order: int, value: float) -> None:
    assert float(jackknife_bound(column(SIX), order)) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.1, 5.0, 100.0])
def test_jackknife_by_visiting_all_subsets(scale: float, order: int) -> None:
    log_weights = normal_weights(7, 5, scale)
    expected = sum(c * brute_force(log_weights, 7 - j) for j, c in enumerate(sharot(7, order)))
    torch.testing.assert_close(jackknife_bound(log_weights, order), expected, atol=1e-9, rtol=0)


def test_jackknife_of_many_samples() -> None:
    # In float32 the terms of order 1 alone, near 500 x 100 nats, would be off by a thousandth.
    log_weights = normal_weights(500, 2, 1.0).float()
    for order in (1, 2):
        curve = bound_curve(log_weights.double(), 500 - order).flip(0)
        expected = sum(c * curve[j] for j, c in enumerate(sharot(500, order)))
        torch.testing.assert_close(jackknife_bound(log_weights, order).double(), expected, atol=1e-5, rtol=0)


# The mean of the jackknife for Exp(1) weights: the same combination of psi(n) - log n.
JACKKNIFE_MEANS = {
    (4, 1): 0.006777089956567672,
    (4, 2): 0.0003123496991070951,
    (4, 3): -0.0001227865117751359,
    (8, 1): 0.0014801879041179689,
    (8, 2): 1.0430377657577594e-05,
    (8, 3): -4.413482391552037e-06,
    (16, 1): 0.00034678902411622303,
    (16, 2): 4.940041327117228e-07,
    (16, 3): -1.8647866895094012e-07,
}


@pytest.mark.parametrize(("k", "order"), JACKKNIFE_MEANS)
def test_mean_of_the_jackknife(k: int, order: int) -> None:
    n = torch.arange(k, k - order - 1, -1, dtype=torch.float64)
    bounds = torch.digamma(n) - n.log()
    mean = JACKKNIFE_MEANS[k, order]
    assert float(torch.tensor(sharot(k, order), dtype=torch.float64) @ bounds) == pytest.approx(mean, abs=1e-12)
    # Through the code, relative to the bound, whose mean is known.
    log_weights = gamma_weights(k, 200_000 if order == 1 else 1000, 1, seed=order)
    correction = jackknife_bound(log_weights, order) - iwae_bound(log_weights)
    stderr = float(correction.std()) / math.sqrt(len(correction))
    assert float(correction.mean() + bounds[0]) == pytest.approx(mean, abs=5 * stderr)
    if k == 4 and order == 1:
        assert mean > 5 * stderr, "visibly above log p(x) = 0, so not a lower bound"


@pytest.mark.parametrize(("shape", "k"), [(1, 4), (1, 50), (0.5, 10)])
def test_mean_of_the_delta_method(shape: float, k: int) -> None:
    # For Gamma weights w~ is Dirichlet, so the mean of CV^2 / (2k) is 1 / (2 (k a + 1)) exactly.
    log_weights = gamma_weights(k, 100_000, shape)
    correction = delta_method_bound(log_weights) - iwae_bound(log_weights)
    stderr = float(correction.std()) / math.sqrt(len(correction))
    assert float(correction.mean()) == pytest.approx(1 / (2 * (k * shape + 1)), abs=5 * stderr)
    assert correction.max() <= 0.5 + 1e-12


def test_the_corrected_estimates_may_exceed_log_p() -> None:
    # w = 1/2 or 3/2 with equal probability: log p(x) = 0.
    q, w = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([0.5, 1.5], dtype=torch.float64)
    assert counted_mean(delta_method_bound, 10, q, w.log()) > 1e-4
    assert counted_mean(jackknife_bound, 10, q, w.log()) > 1e-4
    assert counted_mean(iwae_bound, 10, q, w.log()) < 0


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("zeros", range(7))
def test_the_jackknife_needs_weights_above_zero_at_all_its_sizes(zeros: int, order: int) -> None:
    log_weights = normal_weights(6, 2, 1.0)
    log_weights[:zeros] = -INFINITY
    value = jackknife_bound(log_weights, order)
    assert (value.isfinite() if zeros < 6 - order else value == -INFINITY).all()


@pytest.mark.parametrize("alpha", [-INFINITY, -3.0, 0.999999, 1.0, 1.000001, 3.0, INFINITY])
def test_renyi_of_weights_of_zero(alpha: float) -> None:
    value = renyi_bound(column([-INFINITY, 0.0, -1.0]), alpha)
    assert not value.isnan()
    assert (value == -INFINITY) == (alpha >= 1)
    for dtype in (torch.float32, torch.float64):
        assert (renyi_bound(torch.full((3, 1), -INFINITY, dtype=dtype), alpha) == -INFINITY).all()


def test_right_thermodynamic_sum_of_weights_of_zero() -> None:
    # Without beta = 0 a weight of zero counts for nothing.
    some, none = column([-INFINITY, 0.5, -1.0]), column([0.5, -1.0])
    torch.testing.assert_close(thermodynamic_bound(some, side="right"), thermodynamic_bound(none, side="right"))
    assert (normalized_weights(torch.full((4, 2), -INFINITY)) == 0.25).all()


REFUSED = [
    (lambda values: renyi_bound(values, math.nan), "alpha must be a number or an infinity; got NaN"),
    (lambda values: ciwae_bound(values, 1.5), "beta must be from 0 to 1; got 1.5"),
    (lambda values: ciwae_bound(values, math.nan), "beta must be from 0 to 1; got nan"),
    (lambda values: miwae_bound(values, 4), "repeats must divide the k = 6 samples; got 4"),
    (lambda values: miwae_bound(values, 0), "got 0"),
    (lambda values: miwae_bound(values, 12), "got 12"),
    (lambda values: thermodynamic_bound(values, (0, 0.5)), r"ascend from 0 to 1.*got \(0, 0.5\)"),
    (lambda values: thermodynamic_bound(values, (0.1, 1)), "ascend from 0 to 1"),
    (lambda values: thermodynamic_bound(values, (0, 0.5, 0.5, 1)), "ascend from 0 to 1"),
    (lambda values: thermodynamic_bound(values, (0, math.nan, 1)), "ascend from 0 to 1"),
    (lambda values: thermodynamic_bound(values, ()), "ascend from 0 to 1"),
    (lambda values: jackknife_bound(values, 4), "order must be 1, 2 or 3.*got order 4, k = 6"),
    (lambda values: jackknife_bound(values, 0), "got order 0"),
    (lambda values: jackknife_bound(values[:2], 2), "below the number of samples; got order 2, k = 2"),
    (lambda values: delta_method_bound(values[:1]), "at least 2 samples; got 1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(column(SIX))


def test_higher_jackknives_carry_no_gradient_and_the_first_does() -> None:
    log_weights = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert [jackknife_bound(log_weights, order).requires_grad for order in (1, 2, 3)] == [True, False, False]
