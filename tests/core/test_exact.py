"""Exact bounds against enumeration over all tuples, closed forms, and the identities they must obey."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
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
    log_evidence,
    resampled_law,
    resampled_log_prob,
)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: object, atol: float) -> None:
    expected = expected if isinstance(expected, Tensor) else double(expected)
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def random_law(nodes: int, scale: float, seed: int) -> Law:
    randomness = torch.Generator().manual_seed(seed)
    log_weights, logits = torch.randn(2, nodes, dtype=torch.float64, generator=randomness)
    return Law(scale * log_weights - 100, torch.log_softmax(logits, 0))


def gamma_law(a: float) -> Law:
    """Weights of Gamma(a) law and mean 1, by the trapezoid rule over v = log w, of density ~ e^{a v - a e^v}."""
    v = torch.arange(-40 / a, 5 - math.log(a), 1 / 16, dtype=torch.float64)
    return Law(v, torch.log_softmax(a * (v - v.exp()), 0))


def tuples(law: Law, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every k-tuple of nodes [k, tuples], its log-weights [k, tuples] and its probability [tuples]."""
    nodes = torch.cartesian_prod(*[torch.arange(len(law.log_prob))] * k).reshape(-1, k).T
    return nodes, law.log_weights[nodes], law.log_prob[nodes].sum(0).exp()


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


def test_rare_heavy_nodes_and_long_left_tails() -> None:
    # A heavy node of probability e^-40 carries half the evidence; the other half has log-weights down to -10,000.
    log_prob = torch.log_softmax(double([-40.0, 0.0, -3.0, -6.0]), 0)
    law = Law(double([40.0, 0.0, -1000.0, -10_000.0]), log_prob)
    for k in (2, 3):
        _, log_weights, prob = tuples(law, k)
        assert exact_bound(law, k).item() == pytest.approx((prob @ iwae_bound(log_weights)).item(), abs=1e-11)
    for k in (2, 3, 50):
        kept = resampled_log_prob(law, k)
        assert kept.exp().sum().item() == pytest.approx(1, abs=1e-13)
        # The heavy node is kept whenever it is drawn at all.
        assert kept[0].item() == pytest.approx(math.log(k) + log_prob[0].item(), abs=1e-12)


NUMBERS = {"allow_nan": False, "allow_infinity": False, "allow_subnormal": False}
LAWS = st.lists(st.tuples(st.floats(-40, 40, **NUMBERS), st.floats(-6, 6, **NUMBERS)), min_size=1, max_size=8).map(
    lambda pairs: Law(double([p[0] for p in pairs]), torch.log_softmax(double([p[1] for p in pairs]), 0))
)


@given(LAWS, st.floats(-1000, 1000, **NUMBERS))
def test_identities(law: Law, shift: float) -> None:
    ks = (1, 2, 3, 10, 1000, 10**9)
    curve, top = exact_curve(law, ks), log_evidence(law)
    assert (curve.bound.diff() >= -1e-11).all()
    assert (curve.bound <= top + 1e-11).all()
    assert curve.bound[0].item() == pytest.approx((law.log_prob.exp() @ law.log_weights).item(), abs=1e-10)
    moved = exact_curve(Law(law.log_weights + shift, law.log_prob), ks)
    close(moved.bound, curve.bound + shift, 1e-10)
    close(moved.variance, curve.variance, 1e-9)
    for k in (1, 2, 10):
        kept = resampled_law(law, k)
        assert kept.log_prob.exp().sum().item() == pytest.approx(1, abs=1e-12)
        assert exact_bound(law, k) - 1e-11 <= exact_bound(kept, 1) <= top + 1e-11


@given(LAWS)
def test_splitting_a_node_in_two_changes_nothing(law: Law) -> None:
    assume(len(law.log_prob) > 1)
    half = law.log_prob - math.log(2)
    twice = Law(law.log_weights.repeat(2), half.repeat(2))
    close(exact_curve(twice, (1, 2, 50)).bound, exact_curve(law, (1, 2, 50)).bound, 1e-11)
    close(resampled_log_prob(twice, 3)[: len(half)] + math.log(2), resampled_log_prob(law, 3), 1e-10)


@given(st.floats(-1000, 1000, **NUMBERS), st.integers(1, 5), st.integers(1, 10**9))
def test_equal_weights_leave_no_gap_and_no_variance(value: float, nodes: int, k: int) -> None:
    law = Law(torch.full((nodes,), value, dtype=torch.float64), torch.log_softmax(torch.zeros(nodes).double(), 0))
    curve = exact_curve(law, (k,))
    close(curve.bound, [value], 1e-11)
    assert 0 <= curve.variance.item() < 1e-13
    close(resampled_log_prob(law, k), law.log_prob, 1e-12)


def test_a_state_that_the_model_calls_impossible() -> None:
    law = Law(double([-math.inf, 0.0, 1.0]), double([0.2, 0.3, 0.5]).log())
    curve = exact_curve(law, (1, 2, 10**9))
    assert (curve.bound == -math.inf).all()
    assert curve.variance.isnan().all()
    assert log_evidence(law).item() == pytest.approx(math.log(0.3 + 0.5 * math.e))
    with pytest.raises(ValueError, match="log-weights above -inf; got k = 2 and a least one of -inf"):
        resampled_log_prob(law, 2)


def test_many_nodes() -> None:
    # A log-weight uniform on [0, 1] has E w = e - 1 and E w^2 = (e^2 - 1) / 2.
    n = 100_000
    log_weights = ((torch.arange(n).double() + 0.5) / n).requires_grad_()
    law = Law(log_weights, torch.full((n,), -math.log(n), dtype=torch.float64))
    bound = exact_bound(law, 1000)
    bound.backward()
    assert log_weights.grad.sum().item() == pytest.approx(1, abs=1e-12)
    relative_variance = (math.e + 1) / (math.e - 1) / 2 - 1
    assert bound.item() == pytest.approx(math.log(math.e - 1) - relative_variance / 2000, abs=1e-6)


@pytest.mark.parametrize(
    ("log_weights", "log_prob", "message"),
    [
        ([0.0, 1.0], [-1.0, -1.0], "probabilities are positive and sum to 1; got 0.73"),
        ([0.0, 1.0], [0.0, -math.inf], "probabilities are positive"),
        ([0.0, math.nan], [math.log(0.5)] * 2, "got NaN or"),
        ([0.0, math.inf], [math.log(0.5)] * 2, "leave out nodes of probability zero"),
    ],
)
def test_what_is_not_a_law_is_refused(log_weights: list[float], log_prob: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Law(double(log_weights), double(log_prob))


def test_bad_sizes_are_refused() -> None:
    law = random_law(3, 1.0, seed=0)
    for ks in ((), (0,), (2, -1)):
        with pytest.raises(ValueError, match="k counts samples, so it is at least 1; got"):
            exact_curve(law, ks)
    with pytest.raises(ValueError, match="takes k >= 1"):
        resampled_log_prob(law, 0)
