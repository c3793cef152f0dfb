"""The sequential test: how often it errs, on looks that depend on each other as those of one experiment do."""

import math

import numpy as np
import pytest

from iwae_core.evaluation.estimate import Estimate, estimate
from iwae_core.evaluation.sequential import FEWEST, LEAST, LEVEL, certain, critical


def test_certain_means_what_the_page_says() -> None:
    assert (LEVEL, LEAST, FEWEST) == (0.05, 0.1, 50)
    assert critical(1) == pytest.approx(2.2414, abs=1e-4)


def test_what_all_looks_spend_together_is_the_level() -> None:
    # The upper tail of the normal distribution by its error function, which the code does not use.
    spent = [math.erfc(critical(look) / math.sqrt(2)) for look in range(1, 2000)]
    np.testing.assert_allclose(sum(spent), LEVEL * (1 - 1 / 2000), rtol=1e-9)
    shared = sum(math.erfc(critical(look, 3) / math.sqrt(2)) for look in range(1, 2000))
    np.testing.assert_allclose(3 * shared, sum(spent), rtol=1e-9)


def test_the_first_looks_ask_what_tables_of_the_normal_distribution_say() -> None:
    np.testing.assert_allclose([critical(1), critical(2)], [2.241403, 2.638257], atol=1e-6)


def test_a_difference_of_just_so_much_without_any_error_is_not_certain() -> None:
    none = np.array(0.0)
    assert not certain(Estimate(np.array(LEAST), none), FEWEST, 1)
    assert certain(Estimate(np.array(LEAST + 1e-9), none), FEWEST, 1)


def looks(true: float, experiments: int, seed: int, images: int = 150) -> np.ndarray:
    """Differences of images at 20 looks, `[experiments, looks, images]`: those of an image walk, as models train."""
    randomness = np.random.default_rng(seed)
    own = randomness.standard_t(5, (experiments, 1, images)) * 0.3
    walk = randomness.standard_normal((experiments, 20, images)).cumsum(1) * 0.1
    return true + own + walk


def ever(differences: np.ndarray) -> bool:
    return any(certain(estimate(images), len(images), look) for look, images in enumerate(differences, 1))


@pytest.mark.parametrize("true", [LEAST, -LEAST, 0.0])
def test_a_difference_that_does_not_count_is_seldom_called_certain(true: float) -> None:
    found = [ever(differences) for differences in looks(true, 400, seed=1)]
    assert np.mean(found) <= LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / len(found))


def test_looking_at_two_standard_errors_again_and_again_would_err_far_more_often() -> None:
    def naive(differences: np.ndarray) -> bool:
        leads = [estimate(images) for images in differences]
        return any(abs(lead.mean) > 2 * lead.stderr for lead in leads)

    assert np.mean([naive(differences) for differences in looks(0.0, 400, seed=1)]) > 3 * LEVEL


@pytest.mark.parametrize("true", [0.5, -0.5])
def test_a_difference_that_counts_is_found(true: float) -> None:
    assert all(ever(differences) for differences in looks(true, 50, seed=2))


def test_nothing_is_certain_before_training_or_of_few_images() -> None:
    sure = Estimate(np.float64(5.0), np.float64(0.01))
    assert certain(sure, FEWEST, look=1)
    assert not certain(sure, FEWEST - 1, look=1)
    assert not certain(sure, FEWEST, look=0)


def test_certain_means_more_than_the_least_difference_by_so_many_standard_errors() -> None:
    edge = LEAST + critical(3) * 0.02
    for side in 1, -1:
        assert certain(Estimate(np.float64(side * (edge + 1e-9)), np.float64(0.02)), 100, look=3)
        assert not certain(Estimate(np.float64(side * (edge - 1e-9)), np.float64(0.02)), 100, look=3)
    shared = LEAST + critical(3, comparisons=6) * 0.02
    assert certain(Estimate(np.float64(shared + 1e-9), np.float64(0.02)), 100, look=3, comparisons=6)
    assert not certain(Estimate(np.float64(shared - 1e-9), np.float64(0.02)), 100, look=3, comparisons=6)
    assert not certain(Estimate(np.float64(np.nan), np.float64(np.nan)), 100, look=1)
