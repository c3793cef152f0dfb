"""The numbers of the lesson "Same samples, two formulas"."""

import math

import numpy as np
import pytest

from iwae_lab.lessons.same import KS, SETS, TRAIL, Expected, draw, expected, image, trail
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.models import digits

MODEL = names("one_layer")[0]


@pytest.fixture(scope="module")
def average() -> Expected:
    return expected(MODEL, 7)


@pytest.mark.parametrize("k", KS)
def test_the_formulas_of_one_draw_and_their_difference(k: int) -> None:
    found = draw(MODEL, 7, k, 3)
    log_w = found.log_weights.astype(np.float64)
    top = log_w.max()
    assert found.elbo == pytest.approx(log_w.mean(), abs=1e-9)
    assert found.l_k == pytest.approx(top + math.log(np.exp(log_w - top).mean()), abs=1e-9)
    assert found.kl == pytest.approx(float(np.mean(np.log(1 / k / found.shares))), abs=1e-9)
    assert found.kl == pytest.approx(found.l_k - found.elbo, abs=1e-9)
    assert found.shares.sum() == pytest.approx(1)
    if k > 1:
        assert found.elbo_error == pytest.approx(log_w.std(ddof=1) / math.sqrt(k), abs=1e-9)


def test_dragging_k_keeps_the_draws_and_redrawing_replaces_them() -> None:
    few, many, other = draw(MODEL, 7, 8, 0), draw(MODEL, 7, 64, 0), draw(MODEL, 7, 8, 1)
    assert np.array_equal(few.log_weights, many.log_weights[:8])
    assert not np.isin(few.log_weights, other.log_weights).any()
    # Beyond the sets made at once, new ones are made.
    assert not np.isin(few.log_weights, draw(MODEL, 7, 8, SETS).log_weights).any()


def test_one_average_stays_and_the_other_climbs(average: Expected) -> None:
    assert (np.diff(average.l_k) > 0).all()
    assert average.l_k[0] == pytest.approx(average.elbo, abs=1e-9)
    # The spread of an average of k independent logs falls like 1/sqrt(k).
    assert average.elbo_spread == pytest.approx(average.elbo_spread[0] / np.sqrt(KS), rel=0.3)
    # The curve at 8, made of the same weights, agrees with the average over separate draws of 8.
    draws = np.array([draw(MODEL, 7, 8, redraw).l_k for redraw in range(SETS)])
    error = draws.std(ddof=1) / math.sqrt(SETS)
    assert abs(draws.mean() - average.l_k[KS.index(8)]) < 4 * error
    assert average.l_k_spread[KS.index(8)] == pytest.approx(draws.std(ddof=1), rel=0.3)


def test_the_trail_is_what_earlier_redraws_showed() -> None:
    logs_first, logs_last = trail(MODEL, 7, 16, 3)
    assert logs_first.tolist() == [draw(MODEL, 7, 16, redraw).elbo for redraw in range(3)]
    assert logs_last.tolist() == [draw(MODEL, 7, 16, redraw).l_k for redraw in range(3)]
    assert len(trail(MODEL, 7, 16, 1000)[0]) == TRAIL
    assert len(trail(MODEL, 7, 16, 0)[0]) == 0


def test_the_image_is_the_digit() -> None:
    assert image(7).shape == (1, 784)
    assert np.array_equal(image(7)[0] > 0, digits()[7].numpy() == 1)
