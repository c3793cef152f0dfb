"""Gradient estimators against hand-written gradients and each other."""

import math

import pytest
import torch
from torch import Tensor

from iwae_core.bounds import iwae_bound, normalized_weights
from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, Surrogate, iwae, vae
from iwae_core.models.gaussian_mlp import OneLayer, bernoulli_log_likelihood
from iwae_core.train import accumulate_gradient


@pytest.fixture
def model() -> OneLayer:
    return OneLayer(torch.full((12,), 0.3), torch.Generator().manual_seed(0), hidden=7, units=3).double()


def observations(batch: int = 4) -> Tensor:
    return (torch.rand(batch, 12, generator=torch.Generator().manual_seed(1)) < 0.4).double()


def draw(model: OneLayer, k: int) -> Draws:
    noise = model.noise(k, 4, torch.Generator().manual_seed(2))
    return model.draw(observations(), tuple(layer.double() for layer in noise))


def gradient(model: OneLayer, surrogate: Surrogate) -> list[Tensor]:
    model.zero_grad()
    accumulate_gradient(model, surrogate, 1)
    return [-parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_iwae_equals_vae_at_one_sample_to_the_last_bit(model: OneLayer) -> None:
    first, second = (gradient(model, estimator(draw(model, 1))) for estimator in (vae, iwae))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(vae(draw(model, 1)).theta, iwae(draw(model, 1)).theta)


@pytest.mark.parametrize("k", [1, 2, 5, 50])
def test_iwae_gradient_is_equation_14(model: OneLayer, k: int) -> None:
    # sum_i w~_i grad log w_i, one sample and one datum at a time, with the weights held fixed.
    draws = draw(model, k)
    fixed = normalized_weights(draws.log_weights.detach())
    expected = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for i in range(k):
        for b in range(4):
            single = torch.autograd.grad(draws.log_weights[i, b], list(model.parameters()), retain_graph=True)
            expected = [total + fixed[i, b] * part for total, part in zip(expected, single, strict=True)]
    for found, wanted in zip(gradient(model, iwae(draws)), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-10)


def test_forgetting_to_hold_the_weights_fixed_would_be_noticed(model: OneLayer) -> None:
    # A common mistake: sum w~ log w without detaching w~ has another gradient.
    draws = draw(model, 5)
    wrong = (normalized_weights(draws.log_weights) * draws.log_weights).sum(0)
    mistaken, right = gradient(model, Surrogate(wrong, wrong)), gradient(model, iwae(draw(model, 5)))
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(mistaken, right, strict=True))


def test_vae_gradient_is_the_plain_average(model: OneLayer) -> None:
    draws = draw(model, 5)
    expected = torch.autograd.grad(draws.log_weights.mean(0).sum(), list(model.parameters()), retain_graph=True)
    for found, wanted in zip(gradient(model, vae(draws)), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_two_surrogates_reach_their_own_parameters(model: OneLayer) -> None:
    # theta climbs the bound, phi climbs twice the bound: each network gets its own multiple, and nothing of the other.
    plain = gradient(model, iwae(draw(model, 5)))
    bound = iwae_bound(draw(model, 5).log_weights)
    model.zero_grad()
    accumulate_gradient(model, Surrogate(theta=bound, phi=2 * bound), 1)
    phi = {id(parameter) for parameter in model.recognition.parameters()}
    for parameter, wanted in zip(model.parameters(), plain, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(-parameter.grad, wanted * (2 if id(parameter) in phi else 1))


def test_density_of_the_draws(model: OneLayer) -> None:
    # log p and log q recomputed with torch.distributions from the sampled h.
    draws = draw(model, 5)
    (h,) = draws.h
    mean, log_scale = model.recognition(draws.x)
    log_q = torch.distributions.Normal(mean, log_scale.exp()).log_prob(h).sum(-1)
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(h).sum(-1)
    pixels = torch.distributions.Bernoulli(logits=model.generative(h))
    log_likelihood = pixels.log_prob(draws.x.expand(5, -1, -1)).sum(-1)
    torch.testing.assert_close(draws.log_q, log_q)
    torch.testing.assert_close(draws.log_p, log_prior + log_likelihood)
    torch.testing.assert_close(draws.log_weights, log_prior + log_likelihood - log_q)


def test_bernoulli_log_likelihood_and_its_gradient() -> None:
    logits = torch.tensor([[[-800.0, -3.0, 0.0, 2.0, 800.0]]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    value = bernoulli_log_likelihood(x, logits)
    expected = -math.log1p(math.exp(3)) - math.log(2) - math.log1p(math.exp(2))
    assert value.item() == pytest.approx(expected)
    value.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, x - torch.sigmoid(logits.detach()))
    random = torch.randn(3, 1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: bernoulli_log_likelihood(x, values), random)


def test_every_estimator_says_what_it_estimates() -> None:
    for entry in ESTIMATORS.values():
        assert {"target", "equation", "source"} <= entry.facts.keys()
        assert entry.item.__doc__
