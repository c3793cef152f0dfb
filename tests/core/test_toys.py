"""The toys: their known likelihood and bounds, and what they are made of."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.exact.cases import gaussian_mismatch_law, model_law
from iwae_core.exact.law import exact_bound, exact_curve, log_evidence
from iwae_core.models.factors import StandardNormal
from iwae_core.models.toys import TOYS, Toy, bimodal, enumerable, gaussian_mismatch, line, linear_gaussian, rainforth


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("linear_gaussian", -3.5287505374),
        ("line", -1.6396564284),
        ("gaussian_mismatch", 0.0),
        ("bimodal", -2.16932761),
        ("enumerable", -2.4041669737),
    ],
)
def test_golden_likelihoods(name: str, golden: float) -> None:
    toy = TOYS[name]()
    assert float(toy.log_evidence(toy.x).detach()) == pytest.approx(golden, abs=6e-9)


def test_golden_gradient_of_the_likelihood() -> None:
    toy = linear_gaussian()
    gradients = torch.autograd.grad(toy.log_evidence(toy.x).sum(), toy.model.theta)
    weight, bias, log_scale = gradients
    golden = [-0.2429161773, -0.2664958459, -0.0563214726, -0.2696736181, -0.1787826154, 0.3893627203]
    assert weight.flatten().tolist() == pytest.approx(golden, abs=1e-9)
    assert bias.tolist() == pytest.approx([0.5275622303, -0.2323390303, 0.0587536980], abs=1e-9)
    assert float(log_scale) == pytest.approx(2 * -0.6412397089, abs=1e-9)


# L_k from quadrature and enumeration independent of this program.
GOLDEN_BOUNDS: list[tuple[Callable[[], Toy], dict[int, float]]] = [
    (linear_gaussian, {1: -6.5570948288, 2: -4.7434008625, 50: -3.5523077873, 1000: -3.5298888709}),
    (
        partial(linear_gaussian, (0.6325161582, 0.0074054533), (0.2564102564, 0.1766784452)),
        {1: -3.5482996492, 5: -3.5330159621, 100: -3.5289754109},
    ),
    (
        partial(linear_gaussian, (0.9325161582, -0.1925945467), (0.2, 0.2)),
        {1: -3.9104373390, 10: -3.5790318035, 1000: -3.5293998171},
    ),
    (line, {1: -2.3982084942, 2: -1.8806383763, 5: -1.7045522577, 50: -1.6450942250}),
    (
        partial(gaussian_mismatch, 0.8, 1.0),
        {1: -0.5115717756571054, 10: -0.11159178322355245, 1000: -0.0020868204779853627},
    ),
    (partial(gaussian_mismatch, 1.5), {2: -0.018231772948022362, 50: -0.000610416751599896}),
    (partial(bimodal, 0.0, 1.346), {10: -2.397576}),
    (enumerable, {1: -2.7810546759, 5: -2.4640824380, 50: -2.4093927451}),
]


@pytest.mark.parametrize(("make", "golden"), GOLDEN_BOUNDS)
def test_golden_bounds(make: Callable[[], Toy], golden: dict[int, float]) -> None:
    toy = make()
    for k, bound in golden.items():
        found = float(exact_bound(model_law(toy.model, toy.x), k).detach())
        assert found == pytest.approx(bound, abs=2e-6 if len(golden) == 1 else 2e-9)


@pytest.mark.parametrize("name", TOYS)
def test_bounds_of_every_toy_agree_with_its_likelihood(name: str) -> None:
    # A grid of the noise of the narrow default q of "bimodal" would not reach the other mode.
    arguments = {"rainforth": {"dims": 1}, "bimodal": {"mean": 0.0, "scale": 1.346}}
    toy = TOYS[name](**arguments.get(name, {}))
    with torch.no_grad():
        law, log_p = model_law(toy.model, toy.x), toy.log_evidence(toy.x)
    torch.testing.assert_close(log_evidence(law), log_p[0], atol=1e-9, rtol=0)
    curve = exact_curve(law, (1, 10, 1000)).bound
    assert (curve.diff() > 0).all()
    assert float(curve[-1]) < float(log_p)
    # 2000 draws of the production bounds against the exact ones.
    x = toy.x.expand(2000, -1)
    with torch.no_grad():
        log_weights = toy.model.draw(x, toy.model.noise(10, 2000, randomness())).log_weights
    for bound, exact in ((elbo, curve[0]), (iwae_bound, curve[1])):
        values = bound(log_weights)
        assert float(values.mean() - exact) == pytest.approx(0, abs=5 * float(values.std()) / 2000**0.5)


def test_the_standard_normal_and_the_q_of_a_toy_have_the_moments_they_are_given() -> None:
    assert torch.equal(StandardNormal(3).mean(None), torch.zeros(3))
    mean, log_scale = linear_gaussian((1.0, -2.0), (4.0, 0.25)).model.recognition.layers[0].output(None)
    assert mean.tolist() == [1.0, -2.0]
    assert (2 * log_scale).exp().tolist() == pytest.approx([4.0, 0.25])


def test_rainforth_in_many_dimensions_is_a_mismatch_of_variances() -> None:
    toy = rainforth(dims=20, perturbation=0.1)
    with torch.no_grad():
        mean, _ = toy.model.recognition.layers[0].network(toy.x)  # type: ignore[operator]
        posterior = (toy.x + toy.model.generative.layers[0].mean(None)) / 2
        shift = float((mean - posterior).norm() * math.sqrt(2))
        law = gaussian_mismatch_law(4 / 3, shift, 20)
        log_weights = toy.model.draw(toy.x.expand(4000, -1), toy.model.noise(10, 4000, randomness())).log_weights
        gap = iwae_bound(log_weights) - toy.log_evidence(toy.x)
    assert float(gap.mean() - exact_bound(law, 10)) == pytest.approx(0, abs=5 * float(gap.std()) / 4000**0.5)


def test_rainforth_moves_all_it_says_by_the_size_it_says_and_trains_nothing_else() -> None:
    toy, again, moved = rainforth(seed=3), rainforth(seed=3), rainforth(perturbation=1e-3, seed=3)
    assert torch.equal(toy.x, again.x)
    many = rainforth(dims=400, perturbation=0.0)
    assert float((many.x - many.model.theta[0].detach()).var()) == pytest.approx(2, rel=5 * math.sqrt(2 / 400))
    prior, q = (layer.network for layer in (moved.model.generative.layers[0], moved.model.recognition.layers[0]))
    assert (moved.model.theta, moved.model.phi) == ([prior.mean], [q.weight, q.bias])
    for ours, same in zip(toy.model.parameters(), again.model.parameters(), strict=True):
        assert ours.dtype == torch.float64
        assert torch.equal(ours, same)
    # Twice the mean of q without x is the prior's mean, but for what each was moved by.
    weight, bias, mean = (parameter.detach() for parameter in (q.weight, q.bias, prior.mean))
    for change in (weight - torch.eye(20) / 2, 2 * bias - mean):
        assert 5e-4 < float(change.std()) < 4e-3
        assert float(change.abs().max()) < 0.015


def test_rainforth_moves_every_number_by_one_of_its_own() -> None:
    still, moved = (rainforth(perturbation=size, seed=3).model for size in (0.0, 1e-3))
    moves = torch.cat([(a - b).flatten() for a, b in zip(moved.parameters(), still.parameters(), strict=True)]).detach()
    moves = moves[moves != 0]
    assert len(set(moves.tolist())) == 20 + 20 * 20 + 20
    assert float(moves.abs().max()) < 5e-3


def test_toys_have_the_defaults_that_are_told() -> None:
    said = (
        partial(rainforth, dims=20, variance=2 / 3, perturbation=0.01, seed=0),
        partial(gaussian_mismatch, 1.5, 0.0, 1),
    )
    for plain, made in zip((rainforth(), gaussian_mismatch()), (toy() for toy in said), strict=True):
        assert torch.equal(plain.x, made.x)
        for one, other in zip(plain.model.parameters(), made.model.parameters(), strict=True):
            assert torch.equal(one, other)


def test_an_observation_without_pixels_has_none() -> None:
    assert gaussian_mismatch(dims=3).x.shape == (1, 0)


def test_exact_gradients_come_by_differentiating_the_exact_bound() -> None:
    toy = line()
    golden = {5: (0.16314306, -0.08690340, -0.24623326), 50: (0.01232410, -0.00614488, -0.20628488)}
    for k, wanted in golden.items():
        bound = exact_bound(model_law(toy.model, toy.x), k)
        found = torch.autograd.grad(bound, [*toy.model.phi, toy.model.theta[0]])
        assert torch.cat([part.flatten() for part in found]).tolist() == pytest.approx(wanted, abs=6e-9)


def test_q_at_the_posterior_knows_the_likelihood_from_one_sample() -> None:
    for toy in (rainforth(dims=5, variance=0.5, perturbation=0.0), gaussian_mismatch(1.0, 0.0, 3)):
        log_weights = toy.model.draw(toy.x, toy.model.noise(7, 1, randomness())).log_weights
        torch.testing.assert_close(log_weights, toy.log_evidence(toy.x).expand(7, 1), atol=1e-12, rtol=0)
