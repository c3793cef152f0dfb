"""Moments of weighted sums over samples, against visiting every tuple of samples and sums that are known at any k."""

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.weights import normalized_weights
from iwae_core.exact.law import Law
from iwae_core.exact.weighted_sums import Shares, WeightedSums
from tests.support.laws import close, double, random_law, tuples

KS = (1, 2, 3, 4)
DERIVATIVES = torch.tensor([[0.7, 1.0], [-1.9, 1.0], [0.4, 1.0]], dtype=torch.float64)


def shared(weights: Tensor, shares: Shares) -> Tensor:
    """c_i from the normalised weights, `[k, tuples]`."""
    powers = [share * (weights**p if p else torch.full_like(weights, 1 / len(weights))) for p, share in shares.items()]
    return torch.stack(powers).sum(0)


def visit_every_tuple(law: Law, shares: Shares) -> None:
    """Hold the moments at each k against what all tuples of samples say."""
    found = WeightedSums(law, DERIVATIVES, KS).moments(0, shares)
    for place, k in enumerate(KS):
        nodes, log_weights, prob = tuples(law, k)
        values = (shared(normalized_weights(log_weights), shares) * DERIVATIVES[nodes, 0]).sum(0)
        mean = prob @ values
        close(found.mean[place], mean, 2e-9)
        close(found.variance[place], prob @ values.square() - mean**2, 2e-9)


@pytest.mark.parametrize("shares", [{1: 1}, {2: 1}, {1: 2.5}, {0: 0.3, 1: 0.9, 2: -0.4}], ids=str)
def test_moments_by_visiting_every_tuple(shares: Shares) -> None:
    visit_every_tuple(random_law(3, 1.3, seed=2), shares)


def test_one_sample_kept_by_its_weight_by_visiting_every_tuple() -> None:
    law = random_law(3, 1.3, seed=2)
    found = WeightedSums(law, DERIVATIVES, KS).moments(0, {1: 1}, one_sample=True)
    for place, k in enumerate(KS):
        nodes, log_weights, prob = tuples(law, k)
        weights, a = normalized_weights(log_weights), DERIVATIVES[nodes, 0]
        mean = prob @ (weights * a).sum(0)
        close(found.mean[place], mean, 2e-9)
        close(found.variance[place], prob @ (weights * a.square()).sum(0) - mean**2, 2e-9)


@pytest.mark.parametrize(
    ("log_weights", "prob"),
    [
        ([500.0, 501.0, 499.0], [0.3, 0.3, 0.4]),
        ([-800.0, 0.0, 0.5], [0.2, 0.5, 0.3]),
        ([-20.0, 0.0, 5.0], [0.3, 0.7 - 1e-10, 1e-10]),
    ],
    ids=["huge", "far apart", "hardly ever heavy"],
)
def test_moments_of_extreme_weights(log_weights: list[float], prob: list[float]) -> None:
    visit_every_tuple(Law(double(log_weights), double(prob).log()), {1: 1, 2: 0.5})


@pytest.mark.parametrize("elements", [1, 100])
def test_memory_is_kept_small_without_changing_anything(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    law = random_law(3, 1.3, seed=2)
    whole = WeightedSums(law, DERIVATIVES, KS).moments(0, {1: 1, 2: 0.5})
    monkeypatch.setattr("iwae_core.exact.weighted_sums.ELEMENTS", elements)
    parts = WeightedSums(law, DERIVATIVES, KS).moments(0, {1: 1, 2: 0.5})
    close(parts.mean, whole.mean, 1e-13)
    close(parts.variance, whole.variance, 1e-13)


def test_one_sample_alone_is_the_derivative_of_that_sample() -> None:
    law = random_law(3, 1.3, seed=2)
    mean, variance = WeightedSums(law, DERIVATIVES, (1,)).moments(0, {1: 1})
    expected = law.log_prob.exp() @ DERIVATIVES[:, 0]
    close(mean, expected[None], 1e-13)
    close(variance, (law.log_prob.exp() @ DERIVATIVES[:, 0].square() - expected**2)[None], 1e-13)


def test_normalised_weights_sum_to_one_at_any_k() -> None:
    sums = WeightedSums(random_law(40, 2.0, seed=3), torch.ones(40, 1, dtype=torch.float64), (1, 7, 1000, 10**9))
    mean, variance = sums.moments(0, {1: 1})
    close(mean, [1.0] * 4, 1e-10)
    close(variance, [0.0] * 4, 1e-10)
    assert bool((variance >= 0).all())
