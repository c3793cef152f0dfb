"""Every gradient estimator draw by draw: identities, numerics, and refusals."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.bounds.weights import normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, Surrogate, UnsupportedError, require
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.estimators.estimator import Target, estimator
from iwae_core.models import MODELS, Model
from iwae_core.models.toys import line
from tests.support.enumeration import CASES, Gradient, assert_close, gradient, plus

# Draw by draw.

CONTINUOUS, BINARY = "one_layer", "sbn_2"


def sampled(name: str, k: int, batch: int = 3, shift: float = 0.0, seed: int = 0) -> tuple[Model, Callable[..., Draws]]:
    entry = ESTIMATORS[name]
    model = CASES[CONTINUOUS if entry.path in CASES[CONTINUOUS]().model.paths else BINARY]().model
    randomness = torch.Generator().manual_seed(seed)
    noise = model.noise(k, batch, randomness)
    x = (torch.rand(batch, 3, generator=randomness) < 0.5).double()

    def draw(order: Tensor | slice = slice(None)) -> Draws:
        permuted = tuple(layer[order] for layer in noise)
        draws = model.draw(x, permuted, entry.path, torch.Generator().manual_seed(1))
        return replace(draws, log_p=draws.log_p + shift, baseline=-2.0 + shift)

    return model, draw


def both_gradients(name: str, model: Model, draws: Draws) -> Gradient:
    surrogate = ESTIMATORS[name](draws)
    return gradient(surrogate.theta.sum(), model.theta) + gradient(surrogate.phi.sum(), model.phi)


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.items() if e.path != "one_sample"])
def test_single_precision_keeps_the_digits_of_far_away_densities(name: str) -> None:
    # Both densities are float32, 9000 nats down; what is made of them need not lose more than rounding the result does.
    log_p = -9000 + 3 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    log_q = 2 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(1))

    def pulls(dtype: torch.dtype) -> tuple[Tensor, ...]:
        p, q = (values.to(dtype).requires_grad_() for values in (log_p, log_q))
        zero = torch.zeros_like(p)
        draws = Draws(ESTIMATORS[name].path, (), p, q, kl_error=zero, dream_log_q=zero, baseline=-9000.0)
        surrogate = ESTIMATORS[name](draws)
        of_both = torch.autograd.grad(surrogate.theta.sum() + 2 * surrogate.phi.sum() + 0 * q.sum(), (p, q))
        return of_both if ESTIMATORS[name].path == "sleep" else (*of_both, *ESTIMATORS[name].cotangents(draws, 1.0, {}))

    for found, wanted in zip(pulls(torch.float32), pulls(torch.float64), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6 * float(wanted.detach().abs().max()))


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.items() if e.least_k == 1])
def test_at_one_sample_everything_climbs_the_elbo(name: str) -> None:
    # L_1 = L_k there: the theta part of every estimator is the same, and so is phi's wherever it is reparameterised.
    model, draw = sampled(name, k=1)
    gradients = both_gradients(name, model, draw())
    path = ESTIMATORS[name].path
    same = {"reparameterized": "vae", "one_sample": "vae", "stopped_q": "vae_path", "analytic_kl": "vae_analytic_kl"}
    other, other_draw = sampled(same.get(path, "reinforce"), k=1)
    wanted = both_gradients(same.get(path, "reinforce"), other, other_draw())
    parts = len(model.theta) if path in ("score", "sleep") else len(wanted)
    if path == "one_sample":
        assert_close(gradients, wanted)
    assert_close(gradients[:parts], wanted[:parts])


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("reinforce", "reinforce_iwae")])
def test_a_constant_factor_of_the_weights_changes_no_gradient(name: str) -> None:
    # log w + c: only REINFORCE without a baseline notices, in its variance. Nor does any number overflow.
    for shift in (-1000.0, 50.0):
        (model, plain), (shifted_model, shifted) = sampled(name, 4), sampled(name, 4, shift=shift)
        assert_close(both_gradients(name, model, plain()), both_gradients(name, shifted_model, shifted()), 1e-7)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in ("miwae", "piwae", "iwae_one_sample")])
def test_the_order_of_the_samples_does_not_matter(name: str) -> None:
    model, draw = sampled(name, 5)
    assert_close(both_gradients(name, model, draw()), both_gradients(name, model, draw(torch.tensor([3, 1, 4, 0, 2]))))


def test_sticking_the_landing_is_the_sum_of_both_doubly_reparameterised_gradients() -> None:
    model, draw = sampled("stl", 6)
    stl, dreg, rws = (gradient(ESTIMATORS[name](draw()).phi.sum(), model.phi) for name in ("stl", "dreg", "rws_dreg"))
    assert_close(stl, plus(dreg, rws))


@pytest.mark.parametrize("name", ["dreg", "rws_dreg", "stl", "iwae", "rws", "vimco", "vimco_arithmetic", "piwae"])
def test_every_tight_estimator_moves_theta_by_the_normalised_weights(name: str) -> None:
    # A known mistake elsewhere: the squared weights of DReG applied to the decoder too.
    model, draw = sampled(name, 5)
    draws = draw()
    weights = normalized_weights(draws.log_weights.detach())
    found = gradient(ESTIMATORS[name](draws).theta.sum(), model.theta)
    assert_close(found, gradient((weights * draws.log_p).sum(), model.theta))


@pytest.mark.parametrize("k", [1, 2, 5, 50])
def test_iwae_gradient_is_equation_14(k: int) -> None:
    # sum_i w~_i grad log w_i, one sample and one datum at a time, with the weights held fixed.
    model, draw = sampled("iwae", k)
    log_weights = draw().log_weights
    fixed = normalized_weights(log_weights.detach())
    parameters = model.theta + model.phi
    expected = [torch.zeros_like(parameter) for parameter in parameters]
    for i in range(k):
        for b in range(3):
            expected = plus(expected, [fixed[i, b] * part for part in gradient(log_weights[i, b], parameters)])
    assert_close(both_gradients("iwae", model, draw()), expected)
    undetached = (normalized_weights(log_weights) * log_weights).sum()
    if k > 1:
        with pytest.raises(AssertionError):
            assert_close(gradient(undetached, parameters), expected, 1e-3)


@pytest.mark.parametrize("name", ["vimco", "vimco_arithmetic", "reinforce_loo"])
def test_baselines_survive_weights_that_dwarf_all_others_or_vanish(name: str) -> None:
    log_q = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    log_p = torch.tensor([[0.0, 5.0], [-800.0, 5.0], [-900.0, 5.0], [-math.inf, 5.0]], dtype=torch.float64)
    surrogate = ESTIMATORS[name](Draws("score", (), log_p, log_q))
    (found,) = torch.autograd.grad(surrogate.phi.sum(), log_q)
    assert not found[:, 1].isnan().any()
    assert not found[:, 0].isnan().any()
    if name != "reinforce_loo":  # its signal is infinite there, as it should be
        assert float(found[0, 0]) == pytest.approx(800, abs=2)


# Refusals.


def test_draws_of_another_path_are_refused() -> None:
    toy = line()
    draws = toy.model.draw(toy.x, toy.model.noise(2, 1, torch.Generator()))
    with pytest.raises(ValueError, match="needs draws on the path 'stopped_q'; got 'reparameterized'"):
        ESTIMATORS["dreg"](draws)


@pytest.mark.parametrize(
    ("name", "k", "model", "message"),
    [
        ("iwae", 5, "sbn_1", "iwae needs continuous, .* does not offer. Use estimator='vimco'"),
        ("iwae", 1, "sbn_1", "Use estimator='reinforce_running'"),
        ("vae_analytic_kl", 5, "two_layer", "needs KL.* in closed form: .*. Use estimator='vae'"),
        ("vae_analytic_kl", 5, "sbn_2", "Use estimator='reinforce_loo'"),
        ("dreg", 2, "sbn_3", "Use estimator='vimco'"),
        ("vimco", 1, "one_layer", r"vimco needs k >= 2 .*; got k = 1. Use estimator='reinforce_running'"),
        ("rws_dreg", 1, "one_layer", r"rws_dreg needs k >= 2 .* Use estimator='wake_sleep'"),
        ("rws", 1, "sbn_1", "Use estimator='wake_sleep'"),
    ],
)
def test_what_cannot_work_is_refused_with_an_alternative(name: str, k: int, model: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        require(name, k, MODELS[model].paths)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("k", [1, 2])
def test_every_refusal_names_an_estimator_that_works(name: str, model: str, k: int) -> None:
    paths = MODELS[model].paths
    try:
        assert require(name, k, paths) is ESTIMATORS[name]
    except UnsupportedError as error:
        (instead,) = re.findall(r"estimator='(\w+)'", str(error))
        assert require(instead, k, paths)


def test_two_surrogates_may_share_what_they_are_made_of() -> None:
    def surrogate(draws: Draws) -> Surrogate:
        bound = iwae_bound(draws.log_weights)
        return Surrogate(bound, 2 * bound)

    toy = line()
    draws = toy.model.draw(toy.x, toy.model.noise(3, 1, torch.Generator().manual_seed(0)))
    theta, p, q = replace(ESTIMATORS["iwae"], surrogate=surrogate, weights=None).cotangents(draws, 0.5, {})
    weights = normalized_weights(draws.log_weights).detach()
    for found, factor in ((theta, 0.5), (p, 1.0), (q, -1.0)):
        torch.testing.assert_close(found, factor * weights)


def test_an_estimator_is_known_by_its_name_and_phi_climbs_what_theta_does_unless_said() -> None:
    facts = {name: getattr(ESTIMATORS["iwae"], name) for name in ("label", "path", "theta", "equation", "source")}
    try:
        plain = estimator("of_a_test", **facts)(ESTIMATORS["iwae"].surrogate)
        other = estimator("of_another", **facts, phi=Target.WAKE)(ESTIMATORS["iwae"].surrogate)
        assert ESTIMATORS["of_a_test"] is plain
        assert (plain.theta, plain.phi) == (Target.L_K, Target.L_K)
        assert (other.theta, other.phi) == (Target.L_K, Target.WAKE)
    finally:
        for name in ("of_a_test", "of_another"):
            ESTIMATORS._items.pop(name, None)


def test_every_estimator_says_what_it_estimates() -> None:
    for entry in ESTIMATORS.values():
        assert entry.equation
        assert re.search(r"[12]\d{3}", entry.source)
        assert entry.surrogate.__doc__


# What theta and phi climb, how few samples it takes, how much is left out of a backward pass, what to use instead.
FACTS = [
    ("vae", Target.L_1, Target.L_1, 1, 0.0, "reinforce_loo"),
    ("vae_analytic_kl", Target.L_1, Target.L_1, 1, 0.0, "vae"),
    ("iwae", Target.L_K, Target.L_K, 1, 0.2, "vimco"),
    ("iwae_one_sample", Target.L_K, Target.L_K, 1, 0.0, "vimco"),
    ("renyi", Target.RENYI, Target.RENYI, 1, 0.15, "vimco"),
    ("ciwae", Target.MIXED, Target.MIXED, 1, 0.2, "vimco"),
    ("miwae", Target.L_GROUP, Target.L_GROUP, 1, 0.2, "vimco"),
    ("piwae", Target.L_K, Target.L_GROUP, 1, 0.2, "vimco"),
    ("vae_path", Target.L_1, Target.L_1, 1, 0.0, "reinforce_loo"),
    ("stl", Target.L_K, Target.L_K, 1, 0.2, "rws"),
    ("dreg", Target.L_K, Target.L_K, 1, 0.2, "vimco"),
    ("rws_dreg", Target.L_K, Target.WAKE, 2, 0.2, "rws"),
    ("rws", Target.L_K, Target.WAKE, 2, 0.2, "wake_sleep"),
    ("rws_sleep", Target.L_K, Target.SLEEP, 1, 0.0, "rws"),
    ("wake_sleep", Target.L_1, Target.SLEEP, 1, 0.0, "rws"),
    ("reinforce", Target.L_1, Target.L_1, 1, 0.0, ""),
    ("reinforce_running", Target.L_1, Target.L_1, 1, 0.0, ""),
    ("reinforce_loo", Target.L_1, Target.L_1, 2, 0.0, "reinforce_running"),
    ("reinforce_iwae", Target.L_K, Target.L_K, 1, 0.2, ""),
    ("vimco", Target.L_K, Target.L_K, 2, 0.2, "reinforce_running"),
    ("vimco_arithmetic", Target.L_K, Target.L_K, 2, 0.15, "reinforce_running"),
    ("tvo", Target.TVO, Target.TVO, 2, 0.1, "reinforce_running"),
]


@pytest.mark.parametrize(("name", "theta", "phi", "least_k", "c", "instead"), FACTS)
def test_facts_of_every_estimator(name: str, theta: Target, phi: Target, least_k: int, c: float, instead: str) -> None:
    entry = ESTIMATORS[name]
    assert (entry.theta, entry.phi, entry.least_k, entry.c, entry.instead) == (theta, phi, least_k, c, instead)
    assert bool(entry.bias) == (set(entry.unbiased) != {"theta", "phi"}), "what is biased says by how much"
    assert [row[0] for row in FACTS] == list(ESTIMATORS)
    same = torch.full((least_k, 1), -3.0)
    draws = Draws(entry.path, (), same, same, kl_error=same, kept=same[0], dream_log_q=same)
    assert all(value.isfinite().all() for value in entry(draws)), "so few samples are enough"


def test_the_backward_pass_that_leaves_rows_out_names_its_sources() -> None:
    assert "Horvitz" in BACKWARDS["counting"].source
    assert [BACKWARDS[name](ESTIMATORS["iwae"]) for name in ("all", "counting")] == [0, 0.2]
