"""The numbers of the lesson "What q learns", against enumeration, quadrature and each other."""

import math

import numpy as np
import pytest

from iwae_lab.lessons.q import (
    BOTH_MODES,
    JUMP,
    KS,
    ONE_MODE,
    SPACING,
    Normal,
    augmented,
    best,
    diagnosed,
    fitted,
    four_posteriors,
    picture,
)

LOG_P = -2.16932761
# Of the best q at each k, by quadrature done independently: mean, scale, L_k and L_1.
OPTIMA = {
    1: (1.330, 0.188, -2.881024, -2.8810),
    2: (1.329, 0.196, -2.873268, -2.8829),
    4: (1.327, 0.202, -2.869126, -2.8865),
    5: (0.0, 1.305, -2.772451, -12.10),
    10: (0.0, 1.346, -2.397576, -13.52),
    50: (0.0, 1.368, -2.202501, -14.37),
    100: (0.0, 1.368, -2.185433, -14.40),
}
STUCK = {5: -2.868189, 10: -2.866069, 50: -2.863718, 100: -2.863208}  # L_k of the best q on one mode


@pytest.mark.parametrize("k", OPTIMA)
def test_the_best_q_and_its_bounds(k: int) -> None:
    mean, scale, l_k, l_1 = OPTIMA[k]
    found = picture(best(k), k)
    assert tuple(best(k)) == pytest.approx((mean, scale), abs=6e-4)
    assert found.l_k == pytest.approx(l_k, abs=1e-6)
    assert found.elbo == pytest.approx(l_1, abs=6e-3 if l_1 < -10 else 6e-5)
    assert found.log_p == pytest.approx(LOG_P, abs=1e-8)


@pytest.mark.parametrize("k", STUCK)
def test_a_q_on_one_mode_stays_near_log_2(k: int) -> None:
    found = picture(ONE_MODE[k], k)
    assert found.l_k == pytest.approx(STUCK[k], abs=1e-6)
    assert found.log_p - found.l_k == pytest.approx(math.log(2), abs=0.007)


@pytest.mark.parametrize("k", KS)
def test_the_tables_hold_local_maxima_and_the_jump_is_where_they_cross(k: int) -> None:
    assert tuple(fitted(k, Normal(1.3, 0.21))) == pytest.approx(tuple(ONE_MODE[k]), abs=2e-6)
    if k not in BOTH_MODES:
        return
    assert tuple(fitted(k, Normal(0.05, 1.3))) == pytest.approx(tuple(BOTH_MODES[k]), abs=2e-6)
    both, one = (picture(table[k], k).l_k for table in (BOTH_MODES, ONE_MODE))
    assert (both > one) == (k >= JUMP)


@pytest.mark.parametrize(("q", "k"), [(best(2), 2), (best(5), 5), (Normal(0.3, 1.5), 2), (Normal(-2.0, 0.1), 20)])
def test_what_is_kept_lies_between_q_and_the_posterior(q: Normal, k: int) -> None:
    found = picture(q, k)
    assert found.l_k <= found.elbo_of_resampled <= found.log_p
    for density in (found.posterior, found.q, found.resampled):
        assert density.sum() * SPACING == pytest.approx(1, abs=1e-9)
    # The density of what is kept, by simulation: a histogram of resampled draws.
    randomness = np.random.default_rng(0)
    h = q.mean + q.scale * randomness.standard_normal((40_000, k))
    log_w = -(h**2) / 2 - 2 * (2 - h**2) ** 2 + (h - q.mean) ** 2 / (2 * q.scale**2)
    kept = np.take_along_axis(h, (log_w + randomness.gumbel(size=h.shape)).argmax(1)[:, None], 1)
    edges = np.array([-6, -1.5, -1, 0, 1, 1.2, 1.4, 1.7, 6])
    counts, _ = np.histogram(kept, edges)
    expected = np.histogram(found.h, edges, weights=found.resampled * SPACING)[0]
    error = np.sqrt(expected * (1 - expected) / len(kept))
    grid = SPACING * np.interp(edges, found.h, found.resampled)  # a node may fall on either side of an edge
    assert bool((np.abs(counts / len(kept) - expected) <= 4 * error + np.maximum(grid[1:], grid[:-1]) + 1e-4).all())


# ESS of 50 draws and k-hat of 1000, by simulation done independently.
@pytest.mark.parametrize(
    ("scale", "ess", "k_hat"), [(0.188, 48.0, 1.49), (0.2, 48.2, 1.02), (0.23, 46.8, 0.32), (0.25, 45.0, -1.44)]
)
def test_no_diagnostic_sees_a_missed_mode(scale: float, ess: float, k_hat: float) -> None:
    found = diagnosed(Normal(1.33, scale))
    assert found[0] == pytest.approx(ess, abs=0.4)
    assert found[1] == pytest.approx(k_hat, abs=0.15)
    assert found[0] > 3 * diagnosed(best(50))[0], "the right q looks far worse"


# By visiting every tuple of states, independently: gap, KL of what is kept, its ELBO, L_k, probabilities of states.
AUGMENTED = {
    1: (0.3768877022, 0.3768877022, -2.7810546759, -2.7810546759, (0.254776, 0.170781, 0.343912, 0.230531)),
    2: (0.1795199997, 0.0994462188, -2.5036131925, -2.5836869733, (0.360681, 0.099737, 0.413526, 0.126056)),
    3: (0.1101533552, 0.0369020757, -2.4410690494, -2.5143203289, (0.411308, 0.073016, 0.425403, 0.090274)),
    4: (0.0778876136, 0.0177106590, -2.4218776327, -2.4820545873, (0.438729, 0.061364, 0.424722, 0.075185)),
}


@pytest.mark.parametrize("k", AUGMENTED)
def test_the_table_of_four_states(k: int) -> None:
    gap, kl, elbo, l_k, probabilities = AUGMENTED[k]
    found = augmented(k)
    assert (found.gap, found.kl_of_resampled, found.elbo_of_resampled, found.l_k) == pytest.approx(
        (gap, kl, elbo, l_k), abs=1e-9
    )
    assert found.resampled == pytest.approx(np.array(probabilities), abs=6e-7)
    posterior = np.array([0.51430456, 0.04028114, 0.39668065, 0.04873365])
    assert four_posteriors() == pytest.approx(posterior, abs=1e-8)
    assert augmented(10**6).resampled == pytest.approx(posterior, abs=1e-5)
    assert (found.resampled * np.log(found.resampled / posterior)).sum() == pytest.approx(kl, abs=1e-7)
