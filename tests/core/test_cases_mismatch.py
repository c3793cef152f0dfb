"""A Gaussian posterior and a Gaussian q of another width: laws of its weight, in any dimension."""

import math

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.exact.cases import (
    gaussian_mismatch_chi_squared,
    gaussian_mismatch_law,
    standard_normal_grid,
)
from iwae_core.exact.law import ExactCurve, chi_squared, exact_curve, log_evidence
from tests.support.laws import KS, LOG_2PI, close, double, gaussian_law

# q = N(m + s, rho v I) for a posterior N(m, v I)

# By quadrature in an independent program: rho, shift, then L_k - log p at k = 1, 2, 5, 10, 50, 100, 1000.
MISMATCH = """
0.6  0 -0.055412811883 -0.036396432852 -0.019214929068 -0.011229355573 -0.002821805677 -0.001494059741 -0.000164242331
0.6  1 -0.555412811883 -0.411289906928 -0.262397859903 -0.180910045784 -0.070162131066 -0.045223398689 -0.009339225413
0.8  0 -0.011571775657 -0.006642376498 -0.002966347455 -0.001552537763 -0.000324036471 -0.000162979716 -0.000016387614
0.8  1 -0.511571775657 -0.336919344883 -0.183543232477 -0.111591783224 -0.031307482620 -0.017312888278 -0.002086820478
1.5  0 -0.047267445946 -0.018231772948 -0.006480876229 -0.003131877734 -0.000610416752 -0.000304250462 -0.000030339545
1.5  1 -0.547267445946 -0.241510733954 -0.084201513740 -0.039716450631 -0.007575001112 -0.003765456783 -0.000374583263
2    0 -0.153426409720 -0.051791764718 -0.017062771113 -0.008104560430 -0.001561014017 -0.000776982517 -0.000077384870
2    1 -0.653426409720 -0.242901238427 -0.072862414055 -0.033144174721 -0.006208178358 -0.003080564948 -0.000305984811
4    0 -0.806852819440 -0.238543567444 -0.062129571586 -0.027871992446 -0.005199950392 -0.002579377296 -0.000256127605
4    1 -1.306852819440 -0.401320977123 -0.096273336866 -0.041468054671 -0.007586596271 -0.003756121982 -0.000372367966
"""
# The variance of the estimator at the same k.
MISMATCH_VARIANCE = """
0.6  0  0.080000000000  0.057015439939  0.032599136201  0.019906073223  0.005334857604  0.002871587606  0.000324609082
0.6  1  0.680000000000  0.537343089138  0.361744837585  0.256565774919  0.104870767984  0.069020330812  0.015199064186
0.8  0  0.020000000000  0.012129579349  0.005670640076  0.003027649601  0.000644351563  0.000325000674  0.000032765345
0.8  1  0.820000000000  0.554588811199  0.310969941627  0.193247134239  0.057109471907  0.032235503648  0.004075738237
1.5  0  0.125000000000  0.040645838379  0.013451619982  0.006376104692  0.001225048096  0.000609546429  0.000060689473
1.5  1  1.625000000000  0.612983019871  0.186761502489  0.083554083968  0.015297082457  0.007567134867  0.000749523856
2    0  0.500000000000  0.126482010414  0.036241309660  0.016667980829  0.003138637743  0.001558068764  0.000154810348
2    1  2.500000000000  0.713504996566  0.167312377623  0.070385310371  0.012550560112  0.006193930965  0.000612291160
4    0  4.500000000000  0.829140038402  0.144361477650  0.059192928861  0.010510566282  0.005185767668  0.000512519733
4    1  8.500000000000  1.637924076277  0.240084979891  0.090018892157  0.015382623020  0.007563004071  0.000745230020
"""
# The same where only eight digits are known; the first two have an infinite chi^2.
MISMATCH_TO_EIGHT_DIGITS = """
0.25 0 -0.31814718 -0.25691522 -0.18715085 -0.14456165 -0.07689837 -0.05829504 -0.02338756
0.5  0 -0.09657359 -0.06753792 -0.03914651 -0.02470300 -0.00748980 -0.00429843 -0.00060430
1    1 -0.50000000 -0.29048527 -0.13554497 -0.07372120 -0.01642316 -0.00838118 -0.00085676
"""


def rows(table: str) -> list[tuple[float, float, list[float]]]:
    numbers = [[float(number) for number in line.split()] for line in table.strip().splitlines()]
    return [(rho, shift, values) for rho, shift, *values in numbers]


@pytest.mark.parametrize(("rho", "shift", "bounds"), rows(MISMATCH))
def test_mismatch_in_one_dimension(rho: float, shift: float, bounds: list[float]) -> None:
    close(exact_curve(gaussian_mismatch_law(rho, shift), KS).bound, bounds, 1e-12)


@pytest.mark.parametrize(("rho", "shift", "variances"), rows(MISMATCH_VARIANCE))
def test_variance_of_the_estimator_under_mismatch(rho: float, shift: float, variances: list[float]) -> None:
    close(exact_curve(gaussian_mismatch_law(rho, shift), KS).variance, variances, 1e-12)


@pytest.mark.parametrize(("rho", "shift", "bounds"), rows(MISMATCH_TO_EIGHT_DIGITS))
def test_mismatch_in_one_dimension_to_eight_digits(rho: float, shift: float, bounds: list[float]) -> None:
    close(exact_curve(gaussian_mismatch_law(rho, shift), KS).bound, bounds, 6e-9)


@pytest.mark.parametrize(
    ("rho", "dims", "bounds"),
    [
        (1.5, 10, [-0.472674, -0.084715, -0.008069, -0.000401]),
        (1.5, 20, [-0.945349, -0.212985, -0.022339, -0.001123]),
        (1.5, 50, [-2.363372, -0.782911, -0.133819, -0.008709]),
        (0.6, 10, [-0.554128, -0.226477, -0.049069, -0.004695]),
        (0.6, 20, [-1.108256, -0.505382, -0.141961, -0.021089]),
        (0.6, 50, [-2.770641, -1.503216, -0.617702, -0.181011]),
    ],
)
def test_mismatch_in_many_dimensions(rho: float, dims: int, bounds: list[float]) -> None:
    close(exact_curve(gaussian_mismatch_law(rho, 0, dims), (1, 5, 50, 1000)).bound, bounds, 6e-7)


@pytest.mark.parametrize("dims", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("shift", [0, 0.1, 1, 3])
@pytest.mark.parametrize("rho", [0.25, 0.7, 1, 1.5, 4])
def test_mismatch_obeys_its_closed_forms(rho: float, shift: float, dims: int) -> None:
    # E w = p(x); -L_1 is the Gaussian KL divergence; Var log w = dims (1 - rho)^2 / 2 + rho shift^2.
    law = gaussian_mismatch_law(rho, shift, dims)
    curve = exact_curve(law, (1,))
    kl = (dims * (rho - 1 - math.log(rho)) + shift**2) / 2
    assert log_evidence(law).item() == pytest.approx(0, abs=2e-13)
    assert curve.bound.item() == pytest.approx(-kl, abs=1e-11)
    assert curve.variance.item() == pytest.approx(dims * (1 - rho) ** 2 / 2 + rho * shift**2, abs=1e-10)


def moment(rho: float, shift: float, dims: int, n: int) -> float:
    """E (w / p(x))^n, an integral of Gaussians, finite for rho > (n - 1) / n."""
    return (rho ** ((n - 1) / 2) / math.sqrt(n + (1 - n) / rho)) ** dims * math.exp(
        n * (n - 1) / 2 * shift**2 / (rho * n + 1 - n)
    )


@pytest.mark.parametrize(
    ("rho", "shift", "dims"),
    [(0.8, 0, 1), (1.5, 1, 1), (2, 1, 3), (1.5, 0.5, 20), (1, 1, 2), (0.6, 3, 1), (0.6, 0, 100), (0.75, 3, 5)],
)
def test_moments_of_mismatched_weights(rho: float, shift: float, dims: int) -> None:
    law = gaussian_mismatch_law(rho, shift, dims)
    for n in (2, 3, 4):
        if rho > (n - 1) / n + 0.1:
            expected = moment(rho, shift, dims, n)
            assert torch.logsumexp(law.log_prob + n * law.log_weights, 0).exp().item() == pytest.approx(expected)
    chi2 = gaussian_mismatch_chi_squared(rho, shift, dims)
    assert chi2 == pytest.approx(moment(rho, shift, dims, 2) - 1, rel=1e-12)
    assert chi_squared(law).item() == pytest.approx(chi2, rel=1e-9)


@pytest.mark.parametrize(
    ("rho", "shift", "dims", "chi2", "digits"),
    [
        (0.25, 0, 1, math.inf, 0),
        (0.5, 1, 3, math.inf, 0),
        (0.6, 0, 1, 0.341641, 6e-7),
        (1.5, 0, 1, 0.060660, 6e-7),
        (0.8, 1, 1, 4.468126, 6e-7),
        (1, 1, 1, math.e - 1, 1e-12),
        (4, 1, 1, 0.7440263415096848, 1e-12),
        (1.5, 0, 10, 0.802, 6e-4),
        (1.5, 0, 50, 18.0, 0.05),
        (0.6, 0, 20, 356, 0.5),
        (0.6, 0, 50, 2.4e6, 5e4),
        (0.505, 3, 1, math.inf, 0),
        (1, math.sqrt(709.9), 1, math.inf, 0),  # e^709.8 is too large for a number
    ],
)
def test_chi_squared_of_mismatched_weights(rho: float, shift: float, dims: int, chi2: float, digits: float) -> None:
    assert gaussian_mismatch_chi_squared(rho, shift, dims) == pytest.approx(chi2, abs=digits)
    assert gaussian_mismatch_chi_squared(rho) == gaussian_mismatch_chi_squared(rho, 0, 1)


def test_mismatch_is_the_same_on_a_plain_grid() -> None:
    # Two dimensions, shifted along the diagonal: the polar grid of the law against the square grid of the noise.
    def log_joint(h: Tensor) -> Tensor:
        return -(h.square() + LOG_2PI).sum(1) / 2

    shift, rho = 1.2, 1.7
    plain = gaussian_law(log_joint, double([shift, -shift]) / math.sqrt(2), math.sqrt(rho) * torch.eye(2).double())
    expected, curve = exact_curve(plain, KS), exact_curve(gaussian_mismatch_law(rho, shift, 2), KS)
    torch.testing.assert_close(curve, ExactCurve(*expected), atol=1e-9, rtol=0)


@pytest.mark.parametrize(("rho", "shift", "dims"), [(0.25, 0, 1), (0.6, 1, 1), (4, 0, 1), (4, 2, 1)])
def test_pairs_of_mismatched_weights_by_double_integral(rho: float, shift: float, dims: int) -> None:
    law = gaussian_mismatch_law(rho, shift, dims)
    grid, log_prob = standard_normal_grid(1, reach=25, spacing=1 / 16)
    log_weights = math.log(rho) / 2 - (shift + math.sqrt(rho) * grid[:, 0]).square() / 2 + grid[:, 0].square() / 2
    pairs = iwae_bound(torch.stack(torch.broadcast_tensors(log_weights[:, None], log_weights)).flatten(1))
    prob = (log_prob[:, None] + log_prob).exp().flatten()
    mean = prob @ pairs
    curve = exact_curve(law, (2,))
    assert curve.bound.item() == pytest.approx(mean.item(), abs=1e-11)
    assert curve.variance.item() == pytest.approx((prob @ (pairs - mean).square()).item(), abs=1e-10)


@pytest.mark.parametrize(("rho", "dims"), [(0.25, 100), (4, 100), (4, 30)])
def test_pairs_in_many_dimensions_by_double_integral(rho: float, dims: int) -> None:
    # The radius |e| has density ~ r^(dims - 1) e^(-r^2 / 2); evenly spaced nodes will do where dims is large.
    radius = torch.arange(0.005, math.sqrt(dims) + 9, 0.01, dtype=torch.float64)
    prob = torch.softmax((dims - 1) * radius.log() - radius.square() / 2, 0)
    log_weights = dims / 2 * math.log(rho) + (1 - rho) / 2 * radius.square()
    pairs = torch.logaddexp(log_weights[:, None], log_weights) - math.log(2)
    mean = prob @ pairs @ prob
    curve = exact_curve(gaussian_mismatch_law(rho, 0, dims), (2,))
    assert curve.bound.item() == pytest.approx(mean.item(), abs=1e-10)
    assert curve.variance.item() == pytest.approx((prob @ (pairs - mean).square() @ prob).item(), abs=1e-9)


@pytest.mark.parametrize(
    ("rho", "early", "late", "limit"),
    [(0.25, -0.37, -0.356, -1 / 3), (0.4, -0.704, -0.694, -2 / 3), (0.6, -1.0, -1.0, -1.0)],
)
def test_the_gap_falls_slowly_where_chi_squared_is_infinite(
    rho: float, early: float, late: float, limit: float
) -> None:
    # Tail P(w > t) ~ t^(-1 / (1 - rho)): the gap's exponent is min(1, rho / (1 - rho)), reached slowly.
    gaps = -exact_curve(gaussian_mismatch_law(rho), (10**5, 2 * 10**5, 10**9, 2 * 10**9)).bound
    slopes = gaps.log2().diff()[[0, 2]].tolist()
    assert slopes == pytest.approx([early, late], abs=2e-3)
    assert abs(slopes[1] - limit) <= abs(slopes[0] - limit) + 1e-3


def test_the_same_divergence_can_have_opposite_fates() -> None:
    # Equal KL, hence equal L_1: too narrow a q (chi^2 infinite) gains little from samples, too wide a q gains much.
    narrow, wide = (exact_curve(gaussian_mismatch_law(rho), (1, 10, 100, 1000)) for rho in (0.5, 1.7564312086))
    close(narrow.bound, [-0.0965735903, -0.024703, -0.004298, -0.000604], 6e-7)
    close(wide.bound, [-0.0965735903, -0.005623, -0.000542, -0.000054], 6e-7)


@pytest.mark.parametrize(
    ("dims", "ratios"),
    [(1, [1.558, 1.033, 1.003, 1.000]), (20, [0.841, 0.972, 0.997, 1.000]), (50, [0.263, 0.526, 0.823, 0.967])],
)
def test_where_the_gap_follows_chi_squared(dims: int, ratios: list[float]) -> None:
    ks = (1, 10, 100, 1000)
    gaps = -exact_curve(gaussian_mismatch_law(1.5, 0, dims), ks).bound
    close(gaps * 2 * double(ks) / gaussian_mismatch_chi_squared(1.5, 0, dims), ratios, 6e-4)
