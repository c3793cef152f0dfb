"""Every gradient estimator against the exact gradient of what it says it climbs, on every model small enough."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import ciwae_bound, elbo, iwae_bound, renyi_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.score_function import tvo_surrogate
from iwae_core.models.toys import enumerable, line
from tests.support.enumeration import (
    CASES,
    Gradient,
    assert_close,
    case,
    exact_mean,
    expected_gradient,
    gradient,
    plus,
    tuples,
)

TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "L_1": elbo,
    "L_k": iwae_bound,
    "L_α,k": lambda log_weights: renyi_bound(log_weights, 0.5),
    "β L_1 + (1 − β) L_k": lambda log_weights: ciwae_bound(log_weights, 0.5),
    "L_(k/M)": iwae_bound,  # M = 1 below; see the test of four samples
}


@cache
def exact(name: str, k: int, target: str) -> dict[str, Gradient]:
    found, every = case(name, k)
    value = exact_mean(found.model, every, TARGETS[target])
    return {"theta": gradient(value, found.model.theta), "phi": gradient(value, found.model.phi)}


def verifiable() -> list[tuple[str, str, int]]:
    """Every estimator on every model that offers its path, at k = 2, and 3 where there are few states."""
    found = []
    for name, entry in ESTIMATORS.items():
        for model in CASES:
            if entry.path in CASES[model]().model.paths:
                ks = (2, 3) if model in ("enumerable", "sbn_2", "sbn_3") else (2,)
                found += [(name, model, k) for k in ks]
    return found


@pytest.mark.parametrize(("name", "model", "k"), verifiable())
def test_the_mean_is_the_gradient_of_the_declared_target(name: str, model: str, k: int) -> None:
    estimator, (found, every) = ESTIMATORS[name], case(model, k)
    checked = 0
    for part in estimator.unbiased:
        target = getattr(estimator, part)
        if target in TARGETS:
            mean = expected_gradient(estimator, found.model, every, part, getattr(found.model, part))
            assert_close(mean, exact(model, k, target)[part], found.tolerance)
            checked += 1
    assert checked == sum(getattr(estimator, part) in TARGETS for part in estimator.unbiased)


@pytest.mark.parametrize(("name", "model", "k"), [v for v in verifiable() if v[1] in ("line", "enumerable")])
def test_what_is_not_declared_unbiased_is_biased(name: str, model: str, k: int) -> None:
    estimator, (found, every) = ESTIMATORS[name], case(model, k)
    for part in {"theta", "phi"} - set(estimator.unbiased):
        mean = expected_gradient(estimator, found.model, every, part, getattr(found.model, part))
        for target in ("L_1", "L_k"):
            wanted = exact(model, k, target)[part]
            assert max(float((a - b).abs().max()) for a, b in zip(mean, wanted, strict=True)) > 1e-3


@pytest.mark.parametrize("model", ["line", "one_layer", "two_layer"])
def test_sticking_the_landing_is_biased_by_exactly_the_wake_update(model: str) -> None:
    found, every = case(model, 2)
    wake = expected_gradient(ESTIMATORS["rws"], found.model, every, "phi", found.model.phi)
    landing = expected_gradient(ESTIMATORS["stl"], found.model, every, "phi", found.model.phi)
    assert_close(landing, plus(exact(model, 2, "L_k")["phi"], wake), found.tolerance)
    doubly = expected_gradient(ESTIMATORS["rws_dreg"], found.model, every, "phi", found.model.phi)
    assert_close(doubly, wake, found.tolerance)


def test_partial_and_miwae_at_two_repeats_of_two() -> None:
    # M = K would hide an exchange of the two; four samples as M = 4 or M = 2 or M = 1 must give L_1, L_2, L_4.
    toy = line()
    every = tuples(toy.model, toy.x, 4, spacing=0.7, reach=4.9)
    for repeats, golden in {1: None, 2: 0.66601082, 4: 1.806}.items():
        for name in ("miwae", "piwae"):
            mean = expected_gradient(ESTIMATORS[name], toy.model, every, "phi", toy.model.phi, repeats=repeats)
            wanted = golden or float(gradient(exact_mean(toy.model, every, iwae_bound), toy.model.phi)[0])
            assert float(mean[0]) == pytest.approx(wanted, abs=2e-3)
    tight = expected_gradient(ESTIMATORS["iwae"], toy.model, every, "theta", toy.model.theta)
    partial = expected_gradient(ESTIMATORS["piwae"], toy.model, every, "theta", toy.model.theta, repeats=2)
    assert_close(partial, tight)


@pytest.mark.parametrize("alpha", [-2.0, 0.0, 0.5, 1.0, 3.0])
def test_renyi_climbs_its_own_k_sample_objective(alpha: float) -> None:
    found, every = case("line", 2)
    mean = expected_gradient(ESTIMATORS["renyi"], found.model, every, "phi", found.model.phi, alpha=alpha)
    value = exact_mean(found.model, every, lambda log_weights: renyi_bound(log_weights, alpha))
    assert_close(mean, gradient(value, found.model.phi))
    if alpha in (0.0, 1.0):
        assert_close(mean, exact("line", 2, "L_k" if alpha == 0 else "L_1")["phi"])


def test_tvo_with_one_interval_is_the_elbo() -> None:
    # Draw by draw: theta as the VAE, phi as leave-one-out REINFORCE less the score, whose mean is zero.
    found, (x, noise, _) = case("enumerable", 3)
    draws = found.model.draw(x, noise, "score")
    surrogate, loo = tvo_surrogate(draws, (0.0, 1.0)), ESTIMATORS["reinforce_loo"](draws)
    less_score = loo.phi - draws.log_q.mean(0)
    for first, second, parameters in (
        (surrogate, loo.theta, found.model.theta),
        (surrogate, less_score, found.model.phi),
    ):
        for datum in range(0, len(x), 7):
            assert_close(gradient(first[datum], parameters), gradient(second[datum], parameters))


def test_tvo_approaches_the_gradient_of_its_riemann_sum() -> None:
    # Exactly, E_b log w is an average over the four states; the estimator's bias falls like 1/k.
    betas = (0.0, 0.2, 1.0)
    found, one = case("enumerable", 1)
    log_weights = found.model.draw(one.x, one.noise).log_weights[0]
    log_q = found.model.draw(one.x, one.noise).log_q[0]
    levels = torch.stack([(torch.softmax(log_q + b * log_weights, 0) * log_weights).sum() for b in betas[:-1]])
    target = torch.dot(torch.tensor(betas, dtype=torch.float64).diff(), levels)
    assert float(target.detach()) == pytest.approx(-2.6413073100, abs=1e-9)
    errors = []
    for k in (2, 5):
        _, every = case("enumerable", k)
        for part, parameters in (("theta", found.model.theta), ("phi", found.model.phi)):
            wanted = gradient(target, parameters)
            mean = expected_gradient(ESTIMATORS["tvo"], found.model, every, part, parameters)
            errors.append(max(float((a - b).abs().max()) for a, b in zip(mean, wanted, strict=True)))
    assert errors[2] < 0.5 * errors[0] < 0.05
    assert errors[3] < 0.5 * errors[1] < 0.05


def test_sleep_learns_the_dreams() -> None:
    # Exact: every x and h of the enumerable model. Golden: minus the mean KL(p(h | x) || q) over x ~ p.
    toy = enumerable()
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64)
    x = torch.cartesian_prod(bits, bits, bits)
    states = torch.cartesian_prod(bits, bits)[:, None].expand(-1, 8, -1)
    joint = toy.model.generative(x, (states,)).exp().detach()
    assert float(joint.sum()) == pytest.approx(1)
    exact_sleep = gradient((joint * toy.model.recognition(x, (states,))).sum(), toy.model.phi)
    assert exact_sleep[0].flatten().tolist() == pytest.approx(
        [0.09845825, 0.15567603, 0.00016655, -0.09365078, 0.00052148, -0.04160821], abs=1e-8
    )
    assert exact_sleep[1].tolist() == pytest.approx([0.15226556, -0.09291664], abs=1e-8)
    dreams = 20_000
    log_q = toy.model.dream(5, dreams, torch.Generator().manual_seed(1))
    found = gradient(log_q.sum() / (5 * dreams), toy.model.phi)
    for a, b in zip(found, exact_sleep, strict=True):
        assert float((a - b).abs().max()) < 5 * 0.5 / (5 * dreams) ** 0.5  # one term is at most 1 in size, its sd 1/2
    draws = toy.model.draw(toy.x, toy.model.noise(5, 1, torch.Generator()), "sleep", torch.Generator().manual_seed(1))
    assert draws.dream_log_q is not None
    for name in ("wake_sleep", "rws_sleep"):
        assert_close(
            gradient(ESTIMATORS[name](draws).phi.sum(), toy.model.phi),
            gradient(draws.dream_log_q.mean(), toy.model.phi),
        )


def test_the_shortcuts_are_wrong_with_two_layers() -> None:
    # Holding fixed the mean and scale of q(h2 | h1), instead of its parameters, cuts its path through h1.
    found, (x, noise, prob) = case("two_layer", 2)
    q = found.model.recognition
    first, _ = q.layers[0].sample(x, noise[0])
    mean, log_scale = q.layers[1].network(first)
    second = mean + log_scale.exp() * noise[1]
    fixed_mean, fixed_log_scale = (value.detach() for value in q.layers[0].network(x))
    log_first = torch.distributions.Normal(fixed_mean, fixed_log_scale.exp()).log_prob(first).sum(-1)
    log_second = torch.distributions.Normal(mean.detach(), log_scale.exp().detach()).log_prob(second).sum(-1)
    log_weights = found.model.generative(x, (first, second)) - log_first - log_second
    shortcut = (normalized_weights(log_weights).detach().square() * log_weights).sum(0)
    mistaken = gradient((prob * shortcut).sum(), found.model.phi)
    wanted = exact("two_layer", 2, "L_k")["phi"]
    assert max(float((a - b).abs().max()) for a, b in zip(mistaken, wanted, strict=True)) > 100 * found.tolerance


@pytest.mark.parametrize("k", [1, 7, 50])
def test_no_variance_where_q_is_the_posterior(k: int) -> None:
    toy = line(mean=0.7123287671232876, scale=0.2283105022831050**0.5)
    noise = toy.model.noise(k, 6, torch.Generator().manual_seed(k))
    x = toy.x.expand(6, -1)
    log_p = toy.log_evidence(x)
    for name in ("vae_path", "stl", "dreg", "rws_dreg"):
        draws = toy.model.draw(x, noise, "stopped_q")
        torch.testing.assert_close(draws.log_weights, log_p.expand(k, -1), atol=1e-12, rtol=0)
        torch.testing.assert_close(iwae_bound(draws.log_weights), log_p, atol=1e-12, rtol=0)
        surrogate = ESTIMATORS[name](draws)
        for datum in range(6):
            assert_close(gradient(surrogate.phi[datum], toy.model.phi), [torch.zeros(1).double()] * 2, 1e-12)
    plain = ESTIMATORS["iwae"](toy.model.draw(x, noise))
    assert float(gradient(plain.phi[0], toy.model.phi)[0].abs()) > 1e-2, "the score is left in the plain estimator"
