"""Laws on grids against closed forms, double integrals and the results of independent programs."""

import math

import pytest
import torch
from torch import Tensor

from iwae_core.exact.cases import (
    gamma_curve,
)
from iwae_core.exact.law import chi_squared, exact_bound, exact_curve, log_evidence
from tests.support.laws import KS, LOG_2PI, close, double, gaussian_law

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
