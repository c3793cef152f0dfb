"""A posterior with two modes and a q with one."""

import math

import pytest
import torch
from torch import Tensor

from iwae_core.exact.law import Law, exact_bound, exact_curve, log_evidence, resampled_law
from tests.support.laws import LOG_2PI, double, gaussian_law

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
