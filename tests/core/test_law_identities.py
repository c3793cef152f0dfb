"""What must hold for every law of a weight: identities, limits and refusals."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.exact.laplace import log_transform
from iwae_core.exact.law import (
    Law,
    exact_bound,
    exact_curve,
    inverse_sample_size,
    log_evidence,
    resampled_law,
    resampled_log_prob,
)
from tests.support.laws import close, double, random_law, tuples


def test_rare_heavy_nodes_and_long_left_tails() -> None:
    # A heavy node of probability e^-40 carries half the evidence; the other half has log-weights down to -10,000.
    log_prob = torch.log_softmax(double([-40.0, 0.0, -3.0, -6.0]), 0)
    law = Law(double([40.0, 0.0, -1000.0, -10_000.0]), log_prob)
    for k in (2, 3):
        _, log_weights, prob = tuples(law, k)
        assert exact_bound(law, k).item() == pytest.approx((prob @ iwae_bound(log_weights)).item(), abs=1e-11)
        shares = normalized_weights(log_weights).square().sum(0)
        assert inverse_sample_size(law, [k]).item() == pytest.approx((prob @ shares).item(), abs=1e-12)
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
        resampled_log_prob(Law(law.log_weights.requires_grad_(), law.log_prob), 2)


def test_small_and_large_k_together_are_as_exact_as_each_alone() -> None:
    law, ks = random_law(5, 1.0, seed=3), (2, 10**9)
    together = exact_curve(law, ks)
    for place, k in enumerate(ks):
        alone = exact_curve(law, (k,))
        assert together.bound[place].item() == pytest.approx(alone.bound.item(), abs=1e-12)
        assert together.variance[place].item() == pytest.approx(alone.variance.item(), rel=1e-6)


def test_resampling_in_little_memory_and_with_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    law = random_law(5, 1.0, seed=3)
    whole = resampled_log_prob(law, 3)
    monkeypatch.setattr("iwae_core.exact.law.ELEMENTS", 1)
    log_weights = law.log_weights.clone().requires_grad_()
    found = resampled_log_prob(Law(log_weights, law.log_prob), 3)
    close(found.detach(), whole, 1e-14)
    (slope,) = torch.autograd.grad(torch.logsumexp(found, 0), log_weights)
    close(slope, [0.0] * 5, 1e-12)  # probabilities sum to 1 whatever the weights are


def test_derivatives_of_the_transform() -> None:
    law = random_law(5, 1.0, seed=3)
    log_weights = (law.log_weights - log_evidence(law)).sort().values.requires_grad_()
    log_prob = law.log_prob.clone().requires_grad_()
    u = torch.linspace(-3, 1, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w, p: log_transform(u, w, p), (log_weights, log_prob))


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
        (
            [0.0, 1.0],
            [math.log(0.5), math.log(0.5) + 3e-9],
            "probabilities are positive and sum to 1; got 1.0000000015",
        ),
        ([0.0, 1.0], [0.0, -math.inf], "probabilities are positive"),
        ([0.0, math.nan], [math.log(0.5)] * 2, "got NaN or"),
        ([0.0, math.inf], [math.log(0.5)] * 2, "leave out nodes of probability zero"),
    ],
)
def test_what_is_not_a_law_is_refused(log_weights: list[float], log_prob: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Law(double(log_weights), double(log_prob))


def test_a_law_of_fewer_digits_is_refused() -> None:
    half = torch.full((2,), math.log(0.5))
    for pair in ((half, half.double()), (half.double(), half)):
        with pytest.raises((ValueError, TypeError), match=r"a law is float64|Type-check error"):
            Law(*pair)


def test_bad_sizes_are_refused() -> None:
    law = random_law(3, 1.0, seed=0)
    for ks in ((), (0,), (2, -1)):
        with pytest.raises(ValueError, match="k counts samples, so it is at least 1; got"):
            exact_curve(law, ks)
    with pytest.raises(ValueError, match="takes k >= 1"):
        resampled_log_prob(law, 0)
