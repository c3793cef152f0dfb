"""Linear Gaussian models: log p(x) and the posterior against dense algebra, and training towards a known optimum."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from iwae_core.bounds.lower import elbo
from iwae_core.models import MODELS, Model
from iwae_core.models.factors import Gaussian
from iwae_core.models.linear import closed_form, linear_gaussian
from iwae_core.models.networks import Affine
from iwae_core.models.toys import TOYS

PIXEL_MEANS = torch.linspace(0.05, 0.9, 12)


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> Model:
    model = linear_gaussian(PIXEL_MEANS, randomness(), units=3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=randomness(1)))
    return model


def observation(model: Model) -> tuple[Tensor, Tensor, Tensor]:
    """W, b and s^2."""
    affine = model.generative.layers[1].network
    assert isinstance(affine, Affine)
    return affine.weight.detach(), affine.bias.detach(), torch.exp(2 * affine.log_scale).detach()


def test_it_starts_at_the_mean_and_the_variance_of_the_pixels() -> None:
    _, b, variance = observation(linear_gaussian(PIXEL_MEANS, randomness(), units=3))
    assert torch.equal(b, PIXEL_MEANS)
    assert float(variance) == pytest.approx(float((PIXEL_MEANS - PIXEL_MEANS.square()).mean()))


def test_its_mean_moves_without_the_pixels() -> None:
    pixel_means = torch.full((4,), 0.3)
    with torch.no_grad():
        for parameter in linear_gaussian(pixel_means, torch.Generator().manual_seed(0), units=2).parameters():
            parameter.add_(1)
    assert torch.equal(pixel_means, torch.full((4,), 0.3))


def test_log_p_is_the_normal_density_of_x(model: Model) -> None:
    weight, bias, variance = observation(model)
    x = (torch.rand(7, 12, generator=randomness(2)) < 0.5).double()
    dense = MultivariateNormal(bias, weight @ weight.T + variance * torch.eye(12, dtype=torch.float64))
    found = closed_form(model, x)
    assert found is not None
    torch.testing.assert_close(found.log_p, dense.log_prob(x), atol=1e-9, rtol=0)


def test_bayes_rule_holds_at_any_h(model: Model) -> None:
    # log p(h | x) = log p(x, h) - log p(x), with the model's own joint density.
    x, h = torch.rand(5, 12, generator=randomness(2)).double(), torch.randn(4, 5, 3, generator=randomness(3)).double()
    found = closed_form(model, x)
    assert found is not None
    posterior = MultivariateNormal(found.mean, found.covariance)
    joint = model.generative(x, (h,)).detach()
    torch.testing.assert_close(posterior.log_prob(h), joint - found.log_p, atol=1e-9, rtol=0)


def test_the_golden_toy() -> None:
    # Probabilistic PCA with three pixels: log p(x), posterior mean and covariance by dense algebra.
    toy = TOYS["linear_gaussian"]()
    found = closed_form(toy.model, toy.x)
    assert found is not None
    assert float(found.log_p) == pytest.approx(-3.5287505374, abs=1e-9)
    assert found.mean[0].tolist() == pytest.approx([0.6325161582, 0.0074054533], abs=1e-9)
    assert found.covariance.flatten().tolist() == pytest.approx(
        [0.2666340048, 0.0433398029, 0.0433398029, 0.1837230775], abs=1e-9
    )


@pytest.mark.parametrize("name", MODELS)
def test_only_linear_models_claim_to_know(name: str) -> None:
    found = closed_form(MODELS[name](PIXEL_MEANS, randomness()), torch.zeros(2, 12))
    assert (found is not None) == name.startswith("linear")


def test_where_q_is_the_posterior_one_sample_knows_log_p(model: Model) -> None:
    # Orthogonal columns of W: the posterior has independent units and its mean is affine in x.
    weight, bias, variance = observation(model)
    orthogonal = torch.linalg.qr(weight).Q * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    precision = 1 + orthogonal.square().sum(0) / variance
    up = (orthogonal / variance / precision).T
    q = Gaussian(3, Affine(up, -up @ bias, -0.5 * precision.log()))
    with torch.no_grad():
        model.generative.layers[1].network.weight.copy_(orthogonal)  # type: ignore[union-attr,operator]
    model.recognition.layers = (q,)
    x = torch.rand(5, 12, generator=randomness(2)).double()
    found = closed_form(model, x)
    assert found is not None
    log_weights = model.draw(x, (torch.randn(4, 5, 3, generator=randomness(3)).double(),)).log_weights
    torch.testing.assert_close(log_weights.detach(), found.log_p.expand(4, -1), atol=1e-9, rtol=0)


def test_training_reaches_principal_components() -> None:
    # The maximum of the likelihood is known (Tipping & Bishop 1999): s^2 is the mean of the smaller eigenvalues of the
    # covariance, and log p follows from the eigenvalues. There q is exact, so the ELBO gets there too.
    scales = torch.tensor([2.0, 1.2, 0.3, 0.3, 0.3, 0.3])
    x = (torch.randn(2000, 6, generator=randomness(5)) * scales) @ torch.linalg.qr(
        torch.randn(6, 6, generator=randomness(6))
    ).Q + 0.5
    x = x.double()
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    noise = values[:4].mean()
    log_likelihood = -0.5 * (6 * math.log(2 * math.pi) + values[4:].log().sum() + 4 * noise.log() + 6)
    model = linear_gaussian(torch.full((6,), 0.5), randomness(1), units=2).double()
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    noises = randomness(7)
    for step in range(800):
        if step == 600:
            optimiser.param_groups[0]["lr"] = 0.002
        optimiser.zero_grad()
        (-elbo(model.draw(x, model.noise(1, len(x), noises)).log_weights).mean()).backward()
        optimiser.step()
    found = closed_form(model, x)
    assert found is not None
    assert float(found.log_p.mean()) == pytest.approx(float(log_likelihood), abs=5e-3)
    bound = elbo(model.draw(x, model.noise(50, len(x), noises)).log_weights).mean()
    assert float(bound.detach()) == pytest.approx(float(log_likelihood), abs=1e-2)
