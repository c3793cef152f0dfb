"""Laws on grids against closed forms, double integrals and the results of independent programs."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.exact.cases import (
    binary_states,
    gamma_curve,
    gaussian_mismatch_chi_squared,
    gaussian_mismatch_law,
    standard_normal_grid,
)
from iwae_core.exact.law import ExactCurve, Law, chi_squared, exact_bound, exact_curve, log_evidence, resampled_law

LOG_2PI = math.log(2 * math.pi)
KS = (1, 2, 5, 10, 50, 100, 1000)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: object, atol: float) -> None:
    torch.testing.assert_close(actual, double(expected), atol=atol, rtol=0)


def gaussian_law(log_joint: Callable[[Tensor], Tensor], mean: Tensor, factor: Tensor) -> Law:
    """The law of log p(x, h) - log q(h) for h = mean + factor e [dims, dims], e standard normal."""
    noise, log_prob = standard_normal_grid(len(mean))
    log_q = -(noise.square() + LOG_2PI).sum(1) / 2 - torch.linalg.slogdet(factor).logabsdet
    return Law(log_joint(mean + noise @ factor.T) - log_q, log_prob)


# Exponential weights


@pytest.mark.parametrize(
    ("a", "k", "bound", "variance"),
    [
        (1, 1, -0.5772156649015329, 1.6449340668482264),
        (1, 2, -0.27036284546147815, 0.6449340668482264),
        (1, 3, -0.17582795356964265, 0.39493406684822646),
        (1, 5, -0.10332024400229978, 0.22132295573711533),
        (1, 10, -0.05083250392732497, 0.10516633568168575),
        (1, 50, -0.010033332000253914, 0.020201333226697125),
        (1, 64, -0.007832844555434981, 0.01574770606433893),
        (1, 100, -0.0050083332500046, 0.010050166663333571),
        (1, 5000, -0.0001000033333333, 0.00020002000133333332),
        (0.5, 1, -1.2703628454614782, math.pi**2 / 2),
        (0.5, 5, -0.21313409, None),
        (0.5, 50, -0.02013331, None),
        (0.1, 1, -8.12116985, None),
        (0.1, 5, -1.2703628454614782, math.pi**2 / 2),
        (0.1, 50, -0.10332024400229978, 0.22132295573711533),
    ],
)
def test_gamma_curve(a: float, k: int, bound: float, variance: float | None) -> None:
    # psi(ka) - log(ka) and psi'(ka): psi(1) is minus Euler's constant, psi'(1) = pi^2/6, psi'(1/2) = pi^2/2.
    curve = gamma_curve(a, (k,))
    assert curve.bound.item() == pytest.approx(bound, abs=1e-14 if variance else 6e-9)
    if variance:
        assert curve.variance.item() == pytest.approx(variance, rel=1e-14)


# The linear-Gaussian model h ~ N(0, I), x | h ~ N(W h + mu, s^2 I), where all is known.

W = double([[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2]])
D = double([1.0, -0.5, 0.7]) - double([0.1, -0.2, 0.3])  # x - mu
S2 = 0.5
PRECISION = torch.eye(2, dtype=torch.float64) + W.T @ W / S2
MEAN = torch.linalg.solve(PRECISION, W.T @ D / S2)
LOG_P = -3.5287505374


def linear_log_joint(h: Tensor) -> Tensor:
    error = (D - h @ W.T).square().sum(-1) / S2
    return -(error + 3 * math.log(2 * math.pi * S2) + h.square().sum(-1) + 2 * LOG_2PI) / 2


def diagonal_q(name: str) -> tuple[Tensor, Tensor]:
    """Mean and variances: A the best diagonal q for L_1, B the posterior's marginals, C the prior, D off centre."""
    return {
        "A": (MEAN, 1 / PRECISION.diagonal()),
        "B": (MEAN, torch.linalg.inv(PRECISION).diagonal()),
        "C": (torch.zeros_like(MEAN), torch.ones_like(MEAN)),
        "D": (MEAN + double([0.3, -0.2]), double([0.2, 0.2])),
    }[name]


# L_k by quadrature in an independent program; chi^2 by its closed form; variances at k = 1 and k = 10.
LINEAR = {
    "A": (
        [-3.5482996492, -3.5388852303, -3.5330159621, -3.5309367838, -3.5291987021, -3.5289754109, -3.5287730988],
        0.04513963,
        (0.0383437528, 0.0043135036),
    ),
    "B": (
        [-3.5490740443, -3.5385388546, -3.5326769239, -3.5307254703, -3.5291483778, -3.5289496741, -3.5287704714],
        0.03987262,
        (0.0430522701, 0.0039376621),
    ),
    "C": (
        [-6.5570948288, -4.7434008625, -3.8727814480, -3.6685260179, -3.5523077873, -3.5403155838, -3.5298888709],
        2.27274378,
        (22.2524, 0.3404735088),
    ),
    "D": (
        [-3.9104373390, -3.7342585300, -3.6210358086, -3.5790318035, -3.5404394647, -3.5348383243, -3.5293998171],
        1.32141454,
        (0.829924, 0.0953080821),
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_gaussian_model(name: str) -> None:
    mean, variances = diagonal_q(name)
    law = gaussian_law(linear_log_joint, mean, variances.sqrt().diag())
    bounds, chi2, (first, tenth) = LINEAR[name]
    curve = exact_curve(law, KS)
    close(curve.bound, bounds, 1e-10)
    assert curve.variance[[0, 3]].tolist() == pytest.approx([first, tenth], abs=2e-10)
    # log N(d; 0, W W' + s^2 I), and L_1 in closed form: log p less the divergence between two Gaussians.
    covariance = W @ W.T + S2 * torch.eye(3, dtype=torch.float64)
    log_p = torch.distributions.MultivariateNormal(torch.zeros_like(D), covariance).log_prob(D).item()
    assert log_p == pytest.approx(LOG_P, abs=1e-10)
    assert log_evidence(law).item() == pytest.approx(log_p, abs=1e-10)
    off = MEAN - mean
    trace, logs = PRECISION.diagonal() @ variances - 2, variances.log().sum() + torch.logdet(PRECISION)
    assert curve.bound[0].item() == pytest.approx(log_p - float(trace + off @ PRECISION @ off - logs) / 2, abs=1e-9)
    # 1 + chi^2 = E w^2 / p^2, the integral of a Gaussian: of precision A = 2 Lambda - V^-1, linear term b, constant c.
    a, inverse = 2 * PRECISION - (1 / variances).diag(), (1 / variances).diag()
    b = 2 * PRECISION @ MEAN - inverse @ mean
    c = 2 * MEAN @ PRECISION @ MEAN - mean @ inverse @ mean
    log_square = torch.logdet(PRECISION) - (torch.logdet(inverse) + torch.logdet(a)) / 2
    closed = math.expm1(float(log_square + (b @ torch.linalg.solve(a, b) - c) / 2))
    assert closed == pytest.approx(chi2, abs=6e-9)
    # The second moment of D's weights reaches beyond the grid: V^-1 is close to twice the posterior's precision.
    assert chi_squared(law).item() == pytest.approx(closed, abs=1e-4 if name == "D" else 1e-9)


def test_the_best_q_for_one_sample_is_not_the_best_for_two() -> None:
    a, b = (double(LINEAR[name][0]) for name in "AB")
    laws = [gaussian_law(linear_log_joint, mean, v.sqrt().diag()) for mean, v in map(diagonal_q, "AB")]
    bounds = [exact_curve(law, KS).bound for law in laws]
    assert ((bounds[0] > bounds[1]) == (a > b)).all()
    assert (a > b).tolist() == [True, False, False, False, False, False, False]


def test_the_exact_posterior_leaves_nothing_to_gain() -> None:
    law = gaussian_law(linear_log_joint, MEAN, torch.linalg.cholesky(torch.linalg.inv(PRECISION)))
    curve = exact_curve(law, (1, 7, 50, 10**9))
    close(curve.bound, [LOG_P] * 4, 1e-10)
    close(curve.bound, [log_evidence(law).item()] * 4, 1e-12)
    close(curve.variance, [0.0] * 4, 1e-12)


# One latent variable: p(h) = N(0, 1), p(x | h) = N(a h, 1/2), a = 1.3, x = 1.2, q = N(0.3, 0.8^2).


@pytest.mark.parametrize(
    ("k", "bound", "by_mean", "by_log_scale", "by_a"),
    [
        (1, -2.3982084942, 1.806, -1.8032, -1.178),
        (2, -1.8806383763, 0.66601082, -0.46439742, -0.44367426),
        (3, None, 0.34959968, -0.20806900, -0.30827947),
        (5, -1.7045522577, 0.16314306, -0.08690340, -0.24623326),
        (10, -1.6688046727, 0.06858752, -0.03489143, -0.22036818),
        (50, -1.6450942250, 0.01232410, -0.00614488, -0.20628488),
    ],
)
def test_gradients_of_the_noise_model(
    k: int, bound: float | None, by_mean: float, by_log_scale: float, by_a: float
) -> None:
    mean, log_scale, a = (double(value).requires_grad_() for value in (0.3, math.log(0.8), 1.3))

    def log_joint(h: Tensor) -> Tensor:
        return -(h.square() + (1.2 - a * h).square() / 0.5 + 2 * LOG_2PI + math.log(0.5)).sum(-1) / 2

    law = gaussian_law(log_joint, mean[None], log_scale.exp()[None, None])
    value = exact_bound(law, k)
    value.backward()
    assert bound is None or value.item() == pytest.approx(bound, abs=1e-10)
    assert [mean.grad, log_scale.grad, a.grad] == pytest.approx([by_mean, by_log_scale, by_a], abs=6e-9)
    assert log_evidence(law).item() == pytest.approx(-1.6396564284, abs=1e-10)


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


@pytest.mark.parametrize(("rho", "shift", "dims"), [(0.8, 0, 1), (1.5, 1, 1), (2, 1, 3), (1.5, 0.5, 20), (1, 1, 2)])
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
    ],
)
def test_chi_squared_of_mismatched_weights(rho: float, shift: float, dims: int, chi2: float, digits: float) -> None:
    assert gaussian_mismatch_chi_squared(rho, shift, dims) == pytest.approx(chi2, abs=digits)


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


# A bimodal posterior: p(h) = N(0, 1), p(x | h) = N(h^2, 0.5^2), x = 2, modes near +-1.33; q = N(mean, scale^2).


def bimodal_log_joint(h: Tensor) -> Tensor:
    return -(h.square() + (2 - h.square()).square() / 0.25 + 2 * LOG_2PI + 2 * math.log(0.5)).sum(-1) / 2


def bimodal_law(mean: Tensor, log_scale: Tensor) -> Law:
    return gaussian_law(bimodal_log_joint, mean[None], log_scale.exp()[None, None])


def climb(k: int, mean: float, scale: float) -> tuple[float, float, Law]:
    """The local optimum of L_k near this q: its mean, scale and law."""
    q = double([mean, math.log(scale)]).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [q], max_iter=50, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -exact_bound(bimodal_law(q[0], q[1]), k)
        value.backward()
        return value

    optimizer.step(loss)
    mean, log_scale = q.detach()
    return mean.item(), log_scale.exp().item(), bimodal_law(mean, log_scale)


@pytest.mark.parametrize(
    ("k", "mean", "scale", "bound", "first_bound"),
    [
        (1, 1.330, 0.188, -2.881024, -2.8810),
        (2, 1.329, 0.196, -2.873268, -2.8829),
        (4, 1.327, 0.202, -2.869126, -2.8865),
        (5, 0, 1.305, -2.772451, -12.10),
        (10, 0, 1.346, -2.397576, -13.52),
        (50, 0, 1.368, -2.202501, -14.37),
        (100, 0, 1.368, -2.185433, -14.40),
    ],
)
def test_the_best_q_jumps_from_one_mode_to_both(
    k: int, mean: float, scale: float, bound: float, first_bound: float
) -> None:
    one, both = climb(k, 1.3, 0.2), climb(k, 0.0, 1.3)
    got_mean, got_scale, law = max(one, both, key=lambda found: exact_bound(found[2], k).item())
    curve = exact_curve(law, (1, k))
    assert (got_mean, got_scale) == pytest.approx((mean, scale), abs=6e-4)
    assert curve.bound[1].item() == pytest.approx(bound, abs=6e-7)
    assert curve.bound[0].item() == pytest.approx(first_bound, abs=6e-5 if k < 5 else 6e-3)


@pytest.mark.parametrize(
    ("k", "scale", "bound"),
    [(5, 0.204, -2.868189), (10, 0.210, -2.866069), (50, 0.230, -2.863718), (100, 0.248, -2.863208)],
)
def test_a_missed_mode_costs_log_two_at_any_affordable_k(k: int, scale: float, bound: float) -> None:
    mean, got, law = climb(k, 1.3, 0.2)
    assert 1.3 < mean < 1.35
    assert got == pytest.approx(scale, abs=6e-4)
    assert exact_bound(law, k).item() == pytest.approx(bound, abs=6e-7)
    assert -2.16932761 - exact_bound(law, k).item() == pytest.approx(math.log(2), abs=0.01)


def test_evidence_of_the_bimodal_model_and_what_resampling_covers() -> None:
    law = bimodal_law(double(0.0), double(math.log(1.305)))
    assert log_evidence(law).item() == pytest.approx(-2.16932761, abs=6e-9)
    # q alone has L_1 = -12; one kept of five is a fair approximation of the posterior.
    first, fifth, kept = exact_bound(law, 1), exact_bound(law, 5), exact_bound(resampled_law(law, 5), 1)
    assert first < -12 < fifth < kept < log_evidence(law)


# Grids


@pytest.mark.parametrize("dims", [1, 2])
def test_moments_of_the_grid(dims: int) -> None:
    nodes, log_prob = standard_normal_grid(dims)
    assert nodes.shape == (len(log_prob), dims)
    prob = log_prob.exp()
    for power, moment in enumerate([1, 0, 1, 0, 3, 0, 15, 0, 105]):
        assert (prob @ nodes[:, -1] ** power).item() == pytest.approx(moment, abs=1e-12)
    assert (prob @ nodes.prod(1)).item() == pytest.approx(0, abs=1e-14)


def test_reach_and_spacing_of_the_grid() -> None:
    nodes, log_prob = standard_normal_grid(1, reach=3, spacing=0.5)
    assert nodes[:, 0].tolist() == [0.5 * i for i in range(-6, 7)]
    assert (log_prob[6] - log_prob[0]).item() == pytest.approx(4.5)


def test_binary_states() -> None:
    assert binary_states(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    states = binary_states(10)
    assert states.shape == (1024, 10)
    assert (states @ 2.0 ** torch.arange(9, -1, -1).double()).tolist() == list(range(1024))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standard_normal_grid(3), "1 or 2 dimensions; got 3"),
        (lambda: standard_normal_grid(1, spacing=0), "got reach = 10, spacing = 0"),
        (lambda: standard_normal_grid(1, reach=-1), "got reach = -1, spacing"),
        (lambda: gamma_curve(0, (1,)), "got a = 0, k = \\[1\\]"),
        (lambda: gamma_curve(1, (0, 1)), "got a = 1, k = \\[0, 1\\]"),
        (lambda: binary_states(0), "1 to 20 units; got 0"),
        (lambda: binary_states(21), "1 to 20 units; got 21"),
        (lambda: gaussian_mismatch_law(0), "got rho = 0, dims = 1"),
        (lambda: gaussian_mismatch_law(1, 0, 0), "got rho = 1, dims = 0"),
    ],
)
def test_what_is_no_law_or_grid_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
