"""Models from the menu: exact answers against closed forms, and fits against the best q known exactly."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from iwae_core.estimators import UnsupportedError
from iwae_core.exact.cases import standard_normal_grid
from iwae_core.exact.law import Law, exact_curve
from iwae_lab.lessons.own_model import (
    CURVE_KS,
    FAMILIES,
    LINKS,
    NAMES,
    NOISES,
    PRIORS,
    STEPS,
    Answers,
    Choices,
    answers,
    exact_log_evidence,
    fit,
    weighted_draws,
)

BIMODAL = Choices()
HEAVY = "Student t, 3 d.f."


def at(choices: Choices, phi: np.ndarray, k: int = 10) -> Answers:  # type: ignore[type-arg]
    return answers(choices, tuple(map(float, phi)), k)


def test_log_evidence() -> None:
    # x ~ N(0, 1 + s^2) where x is around h; the model with two modes by quadrature, done independently.
    straight = Choices(link="h", scale=0.5, x=1.0)
    assert exact_log_evidence(straight) == pytest.approx(-0.5 * math.log(2 * math.pi * 1.25) - 0.4, abs=1e-12)
    assert exact_log_evidence(BIMODAL) == pytest.approx(-2.16932761, abs=1e-8)
    # Of |h| and h the evidence differs: at x > 0 a symmetric prior counts twice, up to the tail of the noise.
    folded = exact_log_evidence(Choices(link="|h|", scale=0.3, x=3.0)) - exact_log_evidence(
        Choices(link="h", scale=0.3, x=3.0)
    )
    assert folded == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("k", "scale", "bound"), [(1, 0.188, -2.881024), (5, 1.305, -2.772451), (10, 1.346, -2.397576)]
)
def test_bounds_at_the_best_q(k: int, scale: float, bound: float) -> None:
    # The optimal q for each k in the model with two modes; the bound is flat there, so three digits of it are enough.
    mean = 1.33 if k == 1 else 0.0
    found = at(BIMODAL, np.array([mean, math.log(scale)]), 5)
    assert found.bound[CURVE_KS.index(k)] == pytest.approx(bound, abs=2e-5)


def test_the_floor_under_the_weights_changes_nothing() -> None:
    # exact_curve of the whole law, which has a longer way to go, for a q far too wide.
    choices, phi = Choices(scale=0.5), torch.tensor([0.5, 0.6], dtype=torch.float64)
    noise = standard_normal_grid(1)
    h = phi[0] + phi[1].exp() * noise.nodes[:, 0]
    law = Law(choices.log_joint(torch.tensor(2.0).double(), h) - choices.q_at(phi).log_prob(h), noise.log_prob)
    found = at(choices, phi.numpy())
    assert float(law.log_weights.min()) < -30_000
    assert found.bound[1:4] == pytest.approx(exact_curve(law, CURVE_KS[1:4]).bound.tolist(), abs=1e-5)


def test_densities_integrate_to_one_and_q_kept_nears_the_posterior() -> None:
    wide = np.array([0.0, math.log(1.346)])
    distances = []
    for k in (1, 5, 1000):
        found = at(BIMODAL, wide, k)
        width = found.h[1] - found.h[0]
        for density in (found.posterior, found.q, found.resampled):
            assert density.sum() * width == pytest.approx(1, abs=1e-3)  # q reaches a little past the ends of the plot
        distances.append(np.abs(found.resampled - found.posterior).sum() * width)
    assert distances[0] > 2 * distances[1] > 40 * distances[2]
    assert at(BIMODAL, wide, 1).resampled == pytest.approx(at(BIMODAL, wide, 1).q, abs=1e-3)


def test_q_equal_to_the_posterior() -> None:
    straight = Choices(link="h", scale=1.0, x=1.0)
    found = at(straight, np.array([0.5, 0.5 * math.log(0.5)]))
    assert found.bound == pytest.approx(found.log_evidence, abs=1e-12)
    assert weighted_draws(straight, (0.5, 0.5 * math.log(0.5)), 20, 1).effective == pytest.approx(20)


@pytest.mark.parametrize("parts", list(product(PRIORS, LINKS, NOISES, FAMILIES)), ids="-".join)
def test_every_choice_has_finite_rising_bounds_below_the_evidence(parts: tuple[str, str, str, str]) -> None:
    prior, link, noise, q = parts
    found = at(Choices(prior, link, noise, 0.3, -2.0, q), np.array(FAMILIES[q].start))
    assert np.isfinite(found.bound).all()
    assert (np.diff(found.bound) > -1e-9).all()
    assert found.bound[-1] <= found.log_evidence + 1e-9


def test_log_joint() -> None:
    h, x = torch.tensor([[0.4], [-1.0]], dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    wanted = Normal(0.0, 1.0).log_prob(h) + Normal(h**2, 0.5).log_prob(x)
    torch.testing.assert_close(BIMODAL.log_joint(x, h), wanted)


@pytest.mark.parametrize("name", ["iwae", "dreg", "rws", "vimco"])
def test_fits_reach_the_best_bound(name: str) -> None:
    # The best normal q has L_10 = -2.397576. DReG is on its way there after these few steps.
    path = fit(BIMODAL, name, 10)
    assert path.shape == (STEPS + 1, 2)
    assert path[0] == pytest.approx(FAMILIES["normal"].start)
    found = at(BIMODAL, path[-1]).bound[CURVE_KS.index(10)]
    assert -2.397576 + 1e-6 > found > -2.397576 - (0.06 if name == "dreg" else 0.003)


def test_what_the_lesson_tells() -> None:
    narrow, wide = at(BIMODAL, fit(BIMODAL, "vae", 1)[-1]), at(BIMODAL, fit(BIMODAL, "iwae", 10)[-1])
    assert abs(abs(fit(BIMODAL, "vae", 1)[-1][0]) - 1.33) < 0.1
    assert abs(fit(BIMODAL, "iwae", 10)[-1][0]) < 0.3
    assert narrow.log_evidence - narrow.bound[-1] == pytest.approx(math.log(2), abs=0.02)
    assert wide.log_evidence - wide.bound[-1] < 0.01
    # Tails lighter than the posterior's: a hundred times the samples, a quarter of the gap.
    heavy = Choices(HEAVY, "h", HEAVY, 0.5, 4.0)
    found = at(heavy, fit(heavy, "vae", 10)[-1])
    gaps = found.log_evidence - found.bound
    assert gaps[CURVE_KS.index(10)] / gaps[-1] == pytest.approx(4, abs=1.5)


def test_two_normals_cannot_be_reparameterised() -> None:
    mixture = Choices(q="two normals")
    with pytest.raises(UnsupportedError, match="vimco"):
        fit(mixture, "iwae", 10)
    found = at(mixture, fit(mixture, "rws", 10)[-1])
    assert found.log_evidence - found.bound[0] < 0.1, "even its ELBO is close: both modes are covered"
    assert {"rws", "vimco"} <= set(NAMES)
