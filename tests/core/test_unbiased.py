"""Unbiased estimates of log p(x): their mean, spread and cost on weights whose log p is known."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.unbiased import Draw, multilevel_log_evidence, sumo

Estimate = Callable[[Draw, int, torch.Generator], Tensor]
ESTIMATES: list[Estimate] = [multilevel_log_evidence, sumo]


class Exponential:
    """Draws Exp(1) weights times p(x), log p(x) = -row, and counts the samples."""

    def __init__(self) -> None:
        self.randomness = torch.Generator().manual_seed(1)
        self.samples = 0

    def __call__(self, k: int, rows: Tensor) -> Tensor:
        self.samples += k * len(rows)
        w = torch.empty(k, len(rows), dtype=torch.float64).exponential_(generator=self.randomness)
        return w.log() - rows


def errors(estimate: Estimate, batch: int, seed: int = 0) -> tuple[Tensor, float]:
    """Estimates minus the truth, and samples a datum."""
    draw = Exponential()
    result = estimate(draw, batch, torch.Generator().manual_seed(seed))
    return result + torch.arange(batch), draw.samples / batch


def test_multilevel_estimates_have_the_right_mean_spread_and_cost() -> None:
    batch = 200_000
    error, cost = errors(multilevel_log_evidence, batch)
    assert float(error.mean()) == pytest.approx(0, abs=5 * float(error.std()) / math.sqrt(batch))
    # Without the differences the mean would be L_1 = -0.58.
    assert float(error.std()) == pytest.approx(1.02, abs=0.05)
    r = 2**-1.5
    assert cost == pytest.approx(2 * (1 - r) / (1 - 2 * r), rel=0.05)


def test_sumo_spreads_many_times_wider_at_the_same_cost() -> None:
    # Its variance is infinite: what a run finds is the size of the rarest sums it met.
    batch = 200_000
    error, cost = errors(sumo, batch)
    assert float(error.std()) > 4 * 1.02
    # 1 + sum_j P(N >= j): the harmonic number of 79 and the geometric rest.
    assert cost == pytest.approx(1 + sum(1 / j for j in range(1, 80)) + 1 / 80 / 0.1, rel=0.02)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_estimates_by_their_formula(estimate: Estimate) -> None:
    # The draw hands out the same sequence to everyone and notes how much of it each datum took.
    sequence = 2 * torch.randn(2**16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    taken = torch.zeros(2000, dtype=torch.long)

    def draw(k: int, rows: Tensor) -> Tensor:
        assert (taken[rows] == 0).all(), "once for each datum"
        taken[rows] = k
        return sequence[:k, None].expand(k, len(rows))

    result = estimate(draw, 2000, torch.Generator().manual_seed(3))
    formula = multilevel_formula if estimate is multilevel_log_evidence else sumo_formula
    for k in taken.unique().tolist():
        assert result[taken == k].tolist() == pytest.approx([formula(sequence[:k])] * int((taken == k).sum()))
    assert len(taken.unique()) > 5


def log_mean(log_weights: Tensor) -> float:
    return float(iwae_bound(log_weights[:, None]))


def multilevel_formula(log_weights: Tensor) -> float:
    k = len(log_weights)
    level = round(math.log2(k)) - 1
    difference = log_mean(log_weights) - (log_mean(log_weights[: k // 2]) + log_mean(log_weights[k // 2 :])) / 2
    return float(log_weights.mean()) + difference / ((1 - 2**-1.5) * 2 ** (-1.5 * level))


def sumo_formula(log_weights: Tensor) -> float:
    total = float(log_weights[0])
    for j in range(1, len(log_weights)):
        probability = 1 / j if j < 80 else 0.9 ** (j - 80) / 80
        total += (log_mean(log_weights[: j + 1]) - log_mean(log_weights[:j])) / probability
    return total


@pytest.mark.parametrize(
    ("estimate", "chances"),
    [
        (multilevel_log_evidence, {2 ** (level + 1): 2 ** (-1.5 * level) for level in range(5)}),
        (sumo, {2: 1.0, 3: 1 / 2, 11: 1 / 10, 80: 1 / 79, 81: 1 / 80, 82: 0.9 / 80, 91: 0.9**10 / 80}),
    ],
)
def test_chance_of_at_least_so_many_samples(estimate: Estimate, chances: dict[int, float]) -> None:
    batch, sizes = 400_000, []

    def draw(k: int, rows: Tensor) -> Tensor:
        sizes.append(torch.full((len(rows),), k))
        return torch.zeros(k, 1).expand(k, len(rows))

    estimate(draw, batch, torch.Generator().manual_seed(5))
    for k, chance in chances.items():
        found = float((torch.cat(sizes) >= k).double().mean())
        assert found == pytest.approx(chance, abs=5 * math.sqrt(chance * (1 - chance) / batch) + 1e-12)


@pytest.mark.parametrize("estimate", ESTIMATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_zero_gradient_and_precision(estimate: Estimate, dtype: torch.dtype) -> None:
    log_p = torch.tensor([-90.0, -100.0, -110.0, -120.0], dtype=dtype, requires_grad=True)

    def draw(k: int, rows: Tensor) -> Tensor:
        noise = torch.randn(k, len(rows), generator=torch.Generator().manual_seed(k)).to(dtype)
        log_weights = noise + log_p[rows]
        first = torch.where(rows == 1, -math.inf, log_weights[:1])
        every = torch.where(rows == 2, -math.inf, log_weights[1:])
        return torch.cat([first, every])

    result = estimate(draw, 4, torch.Generator().manual_seed(0))
    assert result.dtype == dtype
    assert result.isfinite().tolist() == [True, False, False, True]
    assert (result[1:3] == -math.inf).all()
    # log p(x) moves all its weights, so the estimate moves with it.
    (slope,) = torch.autograd.grad(result.sum(), log_p)
    torch.testing.assert_close(slope, torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=dtype))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_the_same_generator_gives_the_same_estimates(estimate: Estimate) -> None:
    first, again, other = (errors(estimate, 100, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
