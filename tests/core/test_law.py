"""Exact bounds against enumeration over all tuples, closed forms, and the identities they must obey."""

import math
import re

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.exact.cases import binary_states, gamma_curve
from iwae_core.exact.law import (
    Law,
    chi_squared,
    exact_bound,
    exact_curve,
    expansion,
    inverse_sample_size,
    log_evidence,
    resampled_law,
    resampled_log_prob,
)
from tests.support.laws import close, double, gamma_law, random_law, tuples

# Two binary units, Bernoulli p(h_j = 1) = s(a_j), p(x_i = 1 | h) = s(W_i h + b_i), q(h_j = 1 | x) = s(V_j x + c_j).
MODEL = {
    "a": [0.2, -0.5],
    "W": [[1.0, -2.0], [0.5, 1.5], [-1.0, 0.7]],
    "b": [0.1, -0.3, 0.2],
    "V": [[0.4, -0.6, 0.3], [-0.8, 0.2, 0.5]],
    "c": [-0.4, -0.1],
}
X = [1.0, 0.0, 1.0]


def bernoulli(values: Tensor, logits: Tensor) -> Tensor:
    return (values * logsigmoid(logits) + (1 - values) * logsigmoid(-logits)).sum(-1)


def discrete() -> tuple[dict[str, Tensor], Law]:
    parameters = {name: double(value).requires_grad_() for name, value in MODEL.items()}
    h, x = binary_states(2), double(X)
    log_prior = bernoulli(h, parameters["a"])
    log_joint = log_prior + bernoulli(x, h @ parameters["W"].T + parameters["b"])
    log_q = bernoulli(h, parameters["V"] @ x + parameters["c"])
    return parameters, Law(log_joint - log_q, log_q)


# L_k and the estimator's variance, by enumeration of all 4^k tuples, done independently in float64.
DISCRETE = {
    1: (-2.7810546758529857, 0.9037455937436112),
    2: (-2.583686973338522, 0.44671683277839747),
    3: (-2.5143203288564964, 0.26368639989025344),
    5: (-2.464082437989682, 0.13402827501802883),
    10: (-2.4318498546572527, 0.058293374711103185),
    50: (-2.409392745112978, 0.010550773051107187),
}


def test_discrete_model_against_enumeration() -> None:
    _, law = discrete()
    curve = exact_curve(law, tuple(DISCRETE))
    close(curve.bound.detach(), [bound for bound, _ in DISCRETE.values()], 1e-12)
    close(curve.variance.detach(), [variance for _, variance in DISCRETE.values()], 1e-12)
    close(law.log_prob.exp().detach(), [0.254776013853, 0.170781469335, 0.343911646259, 0.230530870553], 1e-11)
    posterior = (law.log_prob + law.log_weights - log_evidence(law)).exp()
    close(posterior.detach(), [0.51430456, 0.04028114, 0.39668065, 0.04873365], 1e-8)
    assert log_evidence(law).item() == pytest.approx(-2.404166973682941, abs=1e-12)
    assert chi_squared(law).item() == pytest.approx(0.5155522760, abs=1e-9)


# Gradients of the enumerated L_k: a, W by rows, b, c.
GRADIENTS = {
    1: (
        [0.02460851950, 0.02377167109],
        [[0.24978426598, 0.31245716067], [-0.38401617371, -0.32617165027], [0.35831416879, 0.17038837777]],
        [0.51936952800, -0.62368780469, 0.52237013718],
        [-0.09265582640, -0.45369281878],
    ),
    2: (
        [-0.01025167455, -0.15174719949],
        [[0.19289365777, 0.17638016537], [-0.33395567753, -0.18323547479], [0.35149931952, 0.09500603727]],
        [0.45098488236, -0.56409641694, 0.54269451743],
        [-0.07859436263, -0.24587441197],
    ),
    3: (
        [-0.03415725996, -0.21425110497],
        [[0.17042027216, 0.12769588180], [-0.31023067870, -0.13244407005], [0.34090901057, 0.06849714703]],
        [0.42931562503, -0.54138003155, 0.54717093199],
        [-0.06231481024, -0.15054538173],
    ),
    5: (
        [-0.06049774924, -0.25444647641],
        [[0.15340714697, 0.09632632754], [-0.28905756147, -0.09981058297], [0.32646775894, 0.05154077507]],
        [0.41787674405, -0.52539023397, 0.54741813701],
        [-0.04079782908, -0.07741160373],
    ),
}


@pytest.mark.parametrize("k", GRADIENTS)
def test_discrete_gradients_against_enumeration(k: int) -> None:
    parameters, law = discrete()
    exact_bound(law, k).backward()
    for name, expected in zip(("a", "W", "b", "c"), GRADIENTS[k], strict=True):
        close(parameters[name].grad, expected, 2e-11)
    # x = (1, 0, 1) multiplies the columns of V.
    close(parameters["V"].grad, parameters["c"].grad[:, None] * double(X), 1e-15)


def test_discrete_gradient_at_larger_k_and_in_the_limit() -> None:
    parameters, law = discrete()
    exact_bound(law, 10).backward(retain_graph=True)
    close(parameters["c"].grad, [-0.02060946, -0.03345818], 6e-9)
    limit = [-0.10441970, -0.28852588]
    close(torch.autograd.grad(log_evidence(law), parameters["a"], retain_graph=True)[0], limit, 6e-9)
    close(torch.autograd.grad(exact_bound(law, 10**9), parameters["a"])[0], limit, 6e-9)


@pytest.mark.parametrize(("k", "scale"), [(1, 3.0), (2, 0.1), (2, 3.0), (2, 30.0), (3, 3.0), (3, 30.0), (5, 10.0)])
def test_bound_and_variance_by_visiting_every_tuple(k: int, scale: float) -> None:
    law = random_law(4, scale, seed=k)
    _, log_weights, prob = tuples(law, k)
    values = iwae_bound(log_weights)
    curve = exact_curve(law, (k,))
    mean = prob @ values
    close(curve.bound, mean[None], 1e-12)
    torch.testing.assert_close(curve.variance, (prob @ (values - mean).square())[None], atol=1e-13, rtol=1e-11)


@pytest.mark.parametrize("k", [2, 3])
def test_gradients_by_visiting_every_tuple(k: int) -> None:
    logits = double([0.3, -1.0, 0.5, 2.0]).requires_grad_()
    log_weights = double([-3.0, 1.0, 0.2, -0.5]).requires_grad_()
    law = Law(log_weights, torch.log_softmax(logits, 0))
    _, every, prob = tuples(law, k)
    values = iwae_bound(every)
    mean = prob @ values
    curve = exact_curve(law, (k,))
    for actual, expected in ((curve.bound, mean), (curve.variance, prob @ (values - mean).square())):
        got = torch.autograd.grad(actual[0], (log_weights, logits), retain_graph=True)
        want = torch.autograd.grad(expected, (log_weights, logits), retain_graph=True)
        torch.testing.assert_close(got, want, atol=1e-13, rtol=0)


@pytest.mark.parametrize("a", [1.0, 0.5, 0.1, 4.0])
def test_gamma_weights_against_the_closed_form(a: float) -> None:
    ks = (1, 2, 3, 5, 10, 50, 100, 5000)
    exact, closed = exact_curve(gamma_law(a), ks), gamma_curve(a, ks)
    close(exact.bound, closed.bound, 1e-12)
    torch.testing.assert_close(exact.variance, closed.variance, atol=1e-12, rtol=1e-11)
    assert chi_squared(gamma_law(a)).item() == pytest.approx(1 / a, abs=1e-11)


def test_a_thousand_million_samples() -> None:
    # psi(k) - log k = -1/2k - 1/12k^2 + O(k^-4): the gap keeps its digits though it is as small as 5e-10.
    law = gamma_law(1.0)
    assert exact_bound(law, 10**6).item() == pytest.approx(-1 / 2e6 - 1 / 12e12, rel=1e-8)
    assert exact_bound(law, 10**9).item() == pytest.approx(-1 / 2e9, rel=1e-5)


def test_expansion_of_exponential_weights() -> None:
    # psi(k) - log k has -1/2, -1/12 and nothing at orders 1, 2 and 3, then 1/120 at order 4.
    close(expansion(gamma_law(1.0), 1), [-1 / 2, -1 / 12, 0.0], 1e-12)
    close(expansion(gamma_law(1.0), 10), [-1 / 20, -1 / 1200, 0.0], 1e-13)
    # Gamma(a): psi(ak) - log(ak), so k counts a-fold.
    close(expansion(gamma_law(4.0), 1), [-1 / 8, -1 / 192, 0.0], 1e-12)
    close(expansion(gamma_law(1.0), 10**9) * 1e18, [-1e9 / 2, -1 / 12, 0.0], 1e-3)
    assert expansion(discrete()[1], 10**9)[2].item() == pytest.approx(expansion(discrete()[1], 1)[2].item() / 1e27)


def test_equal_weights_have_no_chi_squared_and_no_gradient_of_it() -> None:
    log_weights = torch.full((4,), -3.0, dtype=torch.float64, requires_grad=True)
    divergence = chi_squared(Law(log_weights, torch.full((4,), -math.log(4), dtype=torch.float64)))
    assert divergence.item() == 0
    assert torch.autograd.grad(divergence, log_weights)[0].tolist() == [0] * 4


def test_expansion_leaves_an_error_of_fourth_order() -> None:
    _, law = discrete()
    gaps = exact_curve(law, (50, 100)).bound - log_evidence(law)
    errors = [(gap - expansion(law, k).sum()).item() for gap, k in zip(gaps, (50, 100), strict=True)]
    assert 3.8 < math.log2(errors[0] / errors[1]) < 4.2
    # At leading order the gap is half the variance, chi^2 / 2k.
    curve = exact_curve(law, (10**6,))
    assert (-(curve.bound - log_evidence(law)) / curve.variance).item() == pytest.approx(0.5, abs=1e-5)
    assert -expansion(law, 7)[0].item() == pytest.approx(0.5155522760 / 14, abs=1e-9)


# Keep one of k samples with probability w~_i: its law, KL from the posterior and ELBO, by enumeration of the discrete
# model. At k = 1 it is q itself.
KEPT = {
    1: ([0.254776, 0.170781, 0.343912, 0.230531], 0.3768877022, -2.7810546759),
    2: ([0.360681, 0.099737, 0.413526, 0.126056], 0.0994462188, -2.5036131925),
    3: ([0.411308, 0.073016, 0.425403, 0.090274], 0.0369020757, -2.4410690494),
    4: ([0.438729, 0.061364, 0.424722, 0.075185], 0.0177106590, -2.4218776327),
}


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_inverse_sample_size_by_visiting_every_tuple(scale: float) -> None:
    law, ks = random_law(4, scale, seed=5), (1, 2, 3, 5)
    expected = []
    for k in ks:
        _, log_weights, prob = tuples(law, k)
        expected.append(prob @ normalized_weights(log_weights).square().sum(0))
    close(inverse_sample_size(law, ks), torch.stack(expected), 1e-12)


def test_inverse_sample_size_of_extreme_weights() -> None:
    equal = Law(torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64).log())
    assert inverse_sample_size(equal, [1, 2, 50, 10**6]).tolist() == pytest.approx([1, 1 / 2, 1 / 50, 1e-6], rel=1e-12)
    for law, ks in ((equal, [0]), (equal, [0, 5]), (equal, []), (Law(double([-math.inf, 0]), equal.log_prob), [5])):
        least = float(law.log_weights[0])
        with pytest.raises(
            ValueError, match=re.escape(f"log-weights above -inf; got k = {ks} and a least one of {least}")
        ):
            inverse_sample_size(law, ks)


@pytest.mark.parametrize("k", KEPT)
def test_resampling_in_the_discrete_model(k: int) -> None:
    law = discrete()[1]
    law = Law(law.log_weights.detach(), law.log_prob.detach())
    prob, kl, first_bound = KEPT[k]
    kept = resampled_law(law, k)
    close(kept.log_prob.exp(), prob, 1e-6)
    posterior = law.log_prob + law.log_weights - log_evidence(law)
    assert (kept.log_prob.exp() @ (kept.log_prob - posterior)).item() == pytest.approx(kl, abs=1e-10)
    assert exact_bound(kept, 1).item() == pytest.approx(first_bound, abs=1e-10)
    assert exact_bound(law, k) <= exact_bound(kept, 1) + 1e-12


@pytest.mark.parametrize(("k", "scale"), [(2, 3.0), (2, 20.0), (3, 3.0), (4, 8.0)])
def test_resampling_by_visiting_every_tuple(k: int, scale: float) -> None:
    law = random_law(4, scale, seed=10 + k)
    nodes, log_weights, prob = tuples(law, k)
    kept = normalized_weights(log_weights) * prob
    expected = torch.stack([kept[nodes == node].sum() for node in range(4)])
    close(resampled_log_prob(law, k), expected.log(), 1e-12)


@pytest.mark.parametrize("k", [1, 2, 7, 1000, 10**9])
def test_the_derivative_of_the_bound_is_the_law_of_the_kept_sample(k: int) -> None:
    law = random_law(30, 4.0, seed=3)
    log_weights = law.log_weights.clone().requires_grad_()
    exact_bound(Law(log_weights, law.log_prob), k).backward()
    close(resampled_log_prob(law, k).exp(), log_weights.grad, 1e-14)


def test_the_kept_sample_has_the_posterior_law_in_the_limit() -> None:
    law = random_law(6, 2.0, seed=5)
    posterior = law.log_prob + law.log_weights - log_evidence(law)
    close(resampled_log_prob(law, 10**8), posterior, 1e-6)
    assert (resampled_log_prob(law, 2) - posterior).abs().max() > 0.1
