"""The numbers of the lesson "Against the truth", against closed forms and enumeration."""

import math

import numpy as np
import pytest
import torch

from iwae_core.bounds.corrected import delta_method_bound, jackknife_bound
from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.exact.cases import gamma_curve
from iwae_core.exact.law import Law, exact_curve, inverse_sample_size, log_evidence
from iwae_lab.lessons.truth import delta_method_mean, gaps, jackknife_mean, slope
from tests.support.known_weights import STATES, Q, counted_mean

# log p(x) - L_k of one-dimensional Gaussians at k = 1, 10, 100, 1000, by quadrature done independently.
GAPS = {
    (0.25, 0.0, 1): (0.31814718, 0.14456165, 0.05829504, 0.02338756),
    (0.5, 0.0, 1): (0.09657359, 0.02470300, 0.00429843, 0.00060430),
    (1.5, 0.0, 1): (0.04726745, 0.00313188, 0.00030425, 0.00003034),
    (2.0, 1.0, 1): (0.65342641, 0.03314417, 0.00308056, 0.00030598),
    (0.8, 1.0, 1): (0.51157178, 0.11159178, 0.01731289, 0.00208682),
}


@pytest.mark.parametrize("case", GAPS)
def test_gaps_of_l_k(case: tuple[float, float, int]) -> None:
    found = gaps(*case)
    assert [found.at(k) for k in (1, 10, 100, 1000)] == pytest.approx(GAPS[case], abs=6e-9)
    assert found.kl == pytest.approx(GAPS[case][0], abs=6e-9)  # at k = 1 both bounds are the same


@pytest.mark.parametrize(("dims", "at_1", "at_1000"), [(10, 0.472674, 0.000401), (50, 2.363372, 0.008709)])
def test_gaps_in_many_dimensions(dims: int, at_1: float, at_1000: float) -> None:
    found = gaps(1.5, 0.0, dims)
    assert [found.kl, found.at(1), found.at(1000)] == pytest.approx([at_1, at_1, at_1000], abs=6e-7)


def test_the_same_kl_and_opposite_fates() -> None:
    narrow, wide = gaps(0.5, 0.0, 1), gaps(1.7564312086, 0.0, 1)
    assert narrow.kl == pytest.approx(0.0965735903, abs=1e-10)
    assert wide.kl == pytest.approx(0.0965735903, abs=1e-10)
    assert [narrow.at(k) for k in (10, 100, 1000)] == pytest.approx([0.024703, 0.004298, 0.000604], abs=6e-7)
    assert [wide.at(k) for k in (10, 100, 1000)] == pytest.approx([0.005623, 0.000542, 0.000054], abs=6e-7)


def test_samples_needed_are_the_first_of_the_grid() -> None:
    found = gaps(2.0, 1.0, 1)
    k = found.needed(0.01)
    assert k is not None
    assert found.at(k) <= 0.01 < found.at(int(found.ks[list(found.ks).index(k) - 1]))
    assert gaps(0.25, 2.0, 50).needed(0.1) is None
    assert gaps(1.0, 0.0, 1).needed(1e-12) == 1


@pytest.mark.parametrize("ratio", [0.25, 0.4])
def test_slope_where_chi_squared_is_infinite(ratio: float) -> None:
    found = gaps(ratio, 0.0, 1, (10**8, 10**9))
    assert math.isinf(found.chi_squared)
    assert -math.log10(found.l_k[1] / found.l_k[0]) == pytest.approx(slope(ratio), abs=0.035)
    assert slope(0.6) == 1


@pytest.mark.parametrize(
    ("dims", "expected"),
    [(1, (1.558, 1.033, 1.003, 1.000)), (20, (0.841, 0.972, 0.997, 1.000)), (50, (0.263, 0.526, 0.823, 0.967))],
)
def test_where_the_law_holds(dims: int, expected: tuple[float, ...]) -> None:
    found = gaps(1.5, 0.0, dims)
    ratios = [found.at(k) * 2 * k / found.chi_squared for k in (1, 10, 100, 1000)]
    assert ratios == pytest.approx(expected, abs=6e-4)


# Means of the jackknife for Exp(1) weights, where L_k - log p = psi(k) - log k: orders 1 and 2, from that closed form.
JACKKNIFE = {4: (0.00677709, 0.00031235), 8: (0.00148019, 0.00001043), 16: (0.00034679, 0.00000049)}


@pytest.mark.parametrize("k", JACKKNIFE)
def test_jackknife_of_exponential_weights(k: int) -> None:
    ks = range(1, k + 1)
    bounds = dict(zip(ks, gamma_curve(1, list(ks)).bound.tolist(), strict=True))
    assert [jackknife_mean(bounds, k, order) for order in (1, 2)] == pytest.approx(JACKKNIFE[k], abs=6e-9)


LAW = Law(STATES, torch.log_softmax(Q.log(), 0))


@pytest.mark.parametrize("k", [2, 3, 7])
def test_means_of_corrections_and_of_the_sample_size_by_enumeration(k: int) -> None:
    bounds = dict(zip(range(1, k + 1), exact_curve(LAW, range(1, k + 1)).bound.tolist(), strict=True))
    share = float(inverse_sample_size(LAW, [k])[0])
    assert share == pytest.approx(counted_mean(lambda w: 1 / effective_sample_size(w), k), abs=1e-12)
    assert delta_method_mean(bounds[k], k, share) == pytest.approx(counted_mean(delta_method_bound, k), abs=1e-12)
    for order in (order for order in (1, 2) if order < k):
        expected = counted_mean(lambda w, order=order: jackknife_bound(w, order), k)
        assert jackknife_mean(bounds, k, order) == pytest.approx(expected, abs=1e-11)


def test_corrections_are_missing_where_they_are_undefined_or_drown_in_rounding() -> None:
    found = gaps(1.5, 0.0, 1)
    assert np.isnan(found.delta[0])
    assert [int(np.flatnonzero(np.isfinite(bias))[0]) for bias in found.jackknife] == [1, 2]
    assert np.isnan(found.jackknife[1][-1])
    assert float(log_evidence(LAW)) == pytest.approx(-2.404166973682941)
