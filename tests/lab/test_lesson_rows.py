"""The lesson on draws that pull with nothing: its numbers against gradients that are computed outright."""

import numpy as np
import pytest
import torch

from iwae_core.bounds.lower import iwae_bound
from iwae_core.randomness import generator
from iwae_lab.lessons import rows as lesson
from iwae_lab.lessons.rows import REPEATS, K, rows
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.models import digits

MODEL = next(iter(names("one_layer")))


@pytest.mark.parametrize("c", [0.2, 1.0])
def test_the_added_variance_is_that_over_all_coins(c: float) -> None:
    # Rows are independent: enumerate the two faces of each coin, keeping with p and leaving out with 1 - p.
    found = rows(MODEL, 3, c, 0, 0)
    log_weights, squares = lesson._drawn(MODEL, 3, 0)
    order = np.argsort(-torch.softmax(log_weights[:, 0], 0).numpy(), kind="stable")
    p, a = found.chances, found.pulls
    of_row = p * (a / p - a) ** 2 + (1 - p) * a**2
    assert found.added == pytest.approx(float((of_row * squares[order, 0].numpy()).sum()), rel=1e-9)
    assert found.expected == pytest.approx(np.minimum(1, a * K / c).sum())
    assert set(np.round(found.kept[found.kept > 0] / np.maximum(a, c / K)[found.kept > 0], 9)) == {1.0}


def test_the_rows_make_up_the_gradient() -> None:
    log_weights, squares = lesson._drawn(MODEL, 3, 0)
    network, x = lesson._trainable(MODEL), digits()[3:4]
    noise = network.noise(K, 1, generator(0, "lesson rows", 3))
    whole = network.draw(x, noise, "reparameterized").log_weights
    torch.testing.assert_close(whole.detach(), log_weights, rtol=0, atol=2e-3)
    gradient = torch.autograd.grad(iwae_bound(whole).sum(), [*network.theta, *network.phi])
    length = sum(float(part.double().square().sum()) for part in gradient) ** 0.5
    pulls = torch.softmax(log_weights[:, 0], 0)
    # The triangle inequality: no longer than all rows in line, and with one heavy row not much shorter than it.
    assert length <= float((pulls * squares[:, 0].sqrt()).sum()) * (1 + 1e-6)
    heaviest = int(pulls.argmax())
    rest = float((pulls * squares[:, 0].sqrt()).sum() - pulls[heaviest] * squares[heaviest, 0].sqrt())
    assert length >= float(pulls[heaviest] * squares[heaviest, 0].sqrt()) - rest - 1e-6


def test_without_leaving_out_nothing_changes_and_coins_change_only_what_is_kept() -> None:
    whole, one, other = rows(MODEL, 3, 0.0, 0, 0), rows(MODEL, 3, 1.0, 0, 0), rows(MODEL, 3, 1.0, 0, 1)
    np.testing.assert_array_equal(whole.kept, whole.pulls)
    assert (whole.added, whole.expected, whole.work) == (0.0, K, 1.0)
    np.testing.assert_array_equal(one.pulls, other.pulls)
    assert (one.kept != other.kept).any()
    assert one.added < one.variance
    assert REPEATS > 2
    assert rows(MODEL, 3, 0.2, 1, 0).pulls[0] != one.pulls[0]
