"""What each estimator multiplies log p and log q of each sample by, written out in loops from the papers' formulas."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, Surrogate, accumulate_gradient

Row = NDArray[np.float64]
Pulls = tuple[Row, Row, Row]  # of theta on log p, of phi on log p and of phi on log q
K, BASELINE = 6, -1.3


def shares(log_w: Row) -> Row:
    weights = np.exp(log_w - log_w.max())
    return weights / weights.sum()


def log_mean(log_w: Row) -> float:
    return float(np.log(np.exp(log_w).mean()))


def others(log_w: Row, i: int) -> Row:
    return np.delete(log_w, i)


def rows(log_w: Row, of: Callable[[int], float]) -> Row:
    return np.array([of(i) for i in range(len(log_w))])


def climbing(pull: Row) -> Pulls:
    """The derivative of log w, both through log p and log q."""
    return pull, pull, -pull


def scored(pull: Row, signal: Row) -> Pulls:
    return pull, pull, signal


def equal(log_w: Row) -> Row:
    return np.full(len(log_w), 1 / len(log_w))


def grouped(log_w: Row, repeats: int = 2) -> Row:
    return np.concatenate([shares(group) for group in np.split(log_w, repeats)]) / repeats


def with_geometric(log_w: Row, i: int) -> float:
    """L_k with the weight of sample i replaced by the geometric mean of the others."""
    return log_mean(np.append(others(log_w, i), others(log_w, i).mean()))


def of_tvo(log_w: Row, beta: float = 0.2) -> Pulls:
    of_p, of_q = np.zeros_like(log_w), np.zeros_like(log_w)
    for point, width in ((0.0, beta), (beta, 1 - beta)):
        weights = shares(point * log_w)
        covariance = len(log_w) / (len(log_w) - 1) * weights * (log_w - weights @ log_w)
        of_p += width * (weights + point * covariance)
        of_q += width * (-weights + (1 - point) * covariance)
    return of_p, of_p, of_q


def two(theta: Row, phi: Row) -> Pulls:
    return theta, phi, -phi


FORMULAS: dict[str, Callable[[Row], Pulls]] = {
    "vae": lambda w: climbing(equal(w)),
    "vae_analytic_kl": lambda w: climbing(equal(w)),
    "vae_path": lambda w: climbing(equal(w)),
    "iwae": lambda w: climbing(shares(w)),
    "stl": lambda w: climbing(shares(w)),
    "renyi": lambda w: climbing(shares(w / 2)),
    "ciwae": lambda w: climbing((equal(w) + shares(w)) / 2),
    "miwae": lambda w: climbing(grouped(w)),
    "piwae": lambda w: two(shares(w), grouped(w)),
    "dreg": lambda w: two(shares(w), shares(w) ** 2),
    "rws_dreg": lambda w: two(shares(w), shares(w) - shares(w) ** 2),
    "rws": lambda w: scored(shares(w), shares(w)),
    "rws_sleep": lambda w: scored(shares(w), 0 * w),
    "wake_sleep": lambda w: scored(equal(w), 0 * w),
    "reinforce": lambda w: scored(equal(w), w / K),
    "reinforce_running": lambda w: scored(equal(w), (w - BASELINE) / K),
    "reinforce_loo": lambda w: scored(equal(w), rows(w, lambda i: (w[i] - others(w, i).mean()) / K)),
    "reinforce_iwae": lambda w: scored(shares(w), log_mean(w) - shares(w)),
    "vimco": lambda w: scored(shares(w), rows(w, lambda i: log_mean(w) - with_geometric(w, i)) - shares(w)),
    "vimco_arithmetic": lambda w: scored(
        shares(w), rows(w, lambda i: log_mean(w) - log_mean(others(w, i))) - shares(w)
    ),
    "tvo": of_tvo,
}
SETTINGS: dict[str, tuple[dict[str, Any], Callable[[Row], Pulls]]] = {
    "renyi": ({"alpha": -1.0}, lambda w: climbing(shares(2 * w))),
    "ciwae": ({"beta": 0.2}, lambda w: climbing(0.2 * equal(w) + 0.8 * shares(w))),
    "miwae": ({"repeats": 3}, lambda w: climbing(grouped(w, 3))),
    "piwae": ({"repeats": 3}, lambda w: two(shares(w), grouped(w, 3))),
    "tvo": ({"beta": 0.6}, lambda w: of_tvo(w, 0.6)),
}
CASES = [(name, {}, formula) for name, formula in FORMULAS.items()]
CASES += [(name, settings, formula) for name, (settings, formula) in SETTINGS.items()]


def some(seed: int) -> Tensor:
    randomness = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(K, 3, dtype=torch.float64, generator=randomness)).requires_grad_()


def test_every_estimator_is_here() -> None:
    assert {*FORMULAS, "iwae_one_sample"} == set(ESTIMATORS)
    assert SETTINGS.keys() == {name for name, found in ESTIMATORS.items() if found.settings}


@pytest.mark.parametrize(
    ("name", "settings", "formula"), CASES, ids=[f"{name}{given or ''}" for name, given, _ in CASES]
)
def test_pulls_are_those_of_the_formula(name: str, settings: dict[str, Any], formula: Callable[[Row], Pulls]) -> None:
    log_p, log_q, dreams, kl_error = map(some, range(4))
    estimator = ESTIMATORS[name]
    draws = Draws(estimator.path, (), log_p, log_q, kl_error=kl_error, dream_log_q=dreams, baseline=BASELINE)
    surrogate = estimator(draws, **settings)
    assert surrogate.theta.shape == surrogate.phi.shape == (3,), "one value for each datum"
    wanted = np.stack([formula(row) for row in (log_p - log_q).detach().T.numpy()], -1)  # [pull, k, data]
    (theta,) = torch.autograd.grad(surrogate.theta.sum(), log_p, retain_graph=True)
    given = (log_p, log_q, dreams, kl_error)
    phi = torch.autograd.grad(surrogate.phi.sum(), given, retain_graph=True, allow_unused=True)
    of_p, of_q, of_dreams, of_error = (torch.zeros(K, 3) if part is None else part for part in phi)
    np.testing.assert_allclose(torch.stack([theta, of_p, of_q.double()]), wanted, atol=1e-12)
    assert bool((of_dreams == (1 / K if estimator.path == "sleep" else 0)).all())
    assert bool((of_error == (1 / K if name == "vae_analytic_kl" else 0)).all())
    if estimator.path != "sleep":
        np.testing.assert_allclose(
            torch.stack(estimator.cotangents(draws, 0.3, settings)).detach(), 0.3 * wanted, atol=1e-12
        )
        fixed = replace(draws, log_p=log_p.detach(), log_q=log_q.detach())
        estimator.cotangents(fixed, 1.0, settings)
        assert not fixed.log_p.requires_grad, "what was given is left as it was"


@pytest.mark.parametrize("name", ["iwae", "dreg", "piwae"])
def test_each_surrogate_reaches_its_own_parameters_with_minus_its_gradient(name: str) -> None:
    theta, phi = (torch.tensor(value, requires_grad=True) for value in (2.0, 0.5))

    def surrogate() -> Surrogate:
        return ESTIMATORS[name](Draws(ESTIMATORS[name].path, (), theta * phi * some(0), phi * some(1)))

    wanted = [torch.autograd.grad(surrogate()[i].sum(), parameter)[0] for i, parameter in enumerate((theta, phi))]
    for asked in ((theta, phi), (theta,), (phi,)):
        theta.grad = phi.grad = None
        of_theta, of_phi = ([p for p in (own,) if any(p is q for q in asked)] for own in (theta, phi))
        accumulate_gradient(surrogate(), of_theta, of_phi, 0.25)
        for parameter, gradient in zip((theta, phi), wanted, strict=True):
            expected = -0.25 * gradient if any(parameter is q for q in asked) else None
            assert parameter.grad == (expected if expected is None else pytest.approx(float(expected)))


def test_one_kept_sample_pulls_alone() -> None:
    kept = torch.zeros(3, requires_grad=True)
    draws = Draws("one_sample", (), some(0), some(1), kept=kept)
    surrogate = ESTIMATORS["iwae_one_sample"](draws)
    assert surrogate.theta is surrogate.phi
    assert torch.autograd.grad(surrogate.theta.sum(), kept)[0].tolist() == [1, 1, 1]
