"""Models: sizes, densities against torch.distributions, and gradient paths."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from iwae_core.evaluation.held_out import log_weights
from iwae_core.models import MODELS, Generative, Model, Recognition
from iwae_core.models.bernoulli import bernoulli_log_likelihood
from iwae_core.models.burda import gaussian_mlp
from iwae_core.models.factors import Bernoulli as BernoulliLayer
from iwae_core.models.factors import StandardNormal, linear_layers
from iwae_core.models.sigmoid_belief import sigmoid_belief
from iwae_core.models.toys import enumerable, line

PIXEL_MEANS = torch.linspace(0, 1, 12)


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observations(batch: int = 4) -> Tensor:
    return (torch.rand(batch, 12, generator=randomness(1)) < 0.4).double()


@pytest.fixture
def two_layer() -> Model:
    return gaussian_mlp(PIXEL_MEANS, randomness(), units=(5, 3), hidden=(7, 6)).double()


@pytest.fixture
def belief() -> Model:
    return sigmoid_belief(PIXEL_MEANS, randomness(), units=(5, 4, 3)).double()


@pytest.mark.parametrize(
    ("name", "theta", "phi"),
    [
        ("one_layer", 207_984, 217_300),
        ("two_layer", 253_384, 267_700),
        ("one_layer_2d", 198_384, 198_004),
        ("two_layer_2d", 248_584, 258_004),
        ("linear", 784 * 51 + 1, 785 * 50 + 50),
        ("linear_2d", 784 * 3 + 1, 785 * 2 + 2),
        ("sbn_1", 157_784, 157_000),
        ("sbn_2", 197_984, 197_200),
        ("sbn_3", 238_184, 237_400),
    ],
)
def test_networks_have_the_sizes_of_the_papers(name: str, theta: int, phi: int) -> None:
    model = MODELS[name](torch.full((784,), 0.1), randomness())
    assert sum(parameter.numel() for parameter in model.theta) == theta
    assert sum(parameter.numel() for parameter in model.phi) == phi


@pytest.mark.parametrize("name", MODELS)
def test_grey_values_are_refused_by_bernoulli_pixels_and_taken_by_gaussian_ones(name: str) -> None:
    model = MODELS[name](PIXEL_MEANS, randomness())
    grey = observations().float()
    grey[2, 3] = 0.5
    ways = [
        lambda path=path: model.draw(grey, model.noise(3, 4, randomness()), path, randomness()) for path in model.paths
    ]
    ways.append(lambda: log_weights(model, grey, 3, seed=0))
    ways.append(lambda: model.generative(grey, model.generative.sample(3, 4, randomness())[1]))
    for way in ways:
        if name.startswith("linear"):
            way()
            continue
        with pytest.raises(ValueError, match="a Bernoulli likelihood is of pixels 0 and 1; got others"):
            way()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_draws_on_the_paths_it_declares(name: str) -> None:
    model = MODELS[name](PIXEL_MEANS, randomness())
    assert model.paths == MODELS[name].paths
    x = observations().float()
    noise = model.noise(3, 4, randomness(2))
    values = []
    for path in model.paths:
        draws = model.draw(x, noise, path, randomness(3))
        assert draws.path == path
        assert draws.log_weights.shape == (3, 4)
        assert (draws.dream_log_q is not None) == (path == "sleep")
        values.append(draws.log_weights)
        for parameter in model.parameters():
            parameter.grad = None
        total = draws.log_weights if draws.kept is None else draws.kept
        total.sum().backward()
        assert all(parameter.grad is not None for parameter in (*model.theta, *model.phi)), path
    for value in values:
        torch.testing.assert_close(value, values[0], atol=1e-4, rtol=1e-5)
    assert model.sample_prior(6, randomness()).shape == (6, 12)
    assert model.reconstruct(x, randomness()).shape == x.shape


def test_derivatives_go_to_what_is_encoded_already(two_layer: Model) -> None:
    x, noise = observations(), two_layer.noise(3, 4, randomness(2))
    for path in two_layer.paths:
        leaves = tuple(part.detach().requires_grad_() for part in two_layer.encode(x))
        draws = two_layer.draw(x, noise, path, randomness(3), leaves)
        value = draws.log_weights if draws.kept is None else draws.kept
        first = list(two_layer.recognition.layers[0].parameters())
        found = torch.autograd.grad(value.sum(), [*leaves, *first], allow_unused=True)
        assert [part is not None for part in found] == [True, True, *(False for _ in first)], path


def test_one_gaussian_layer_is_computed_without_automatic_differentiation() -> None:
    assert [name for name in MODELS if MODELS[name](PIXEL_MEANS, randomness()).fused] == ["one_layer", "one_layer_2d"]


def test_one_gaussian_layer_with_another_decoder_is_left_to_automatic_differentiation() -> None:
    model = MODELS["one_layer_2d"](PIXEL_MEANS, randomness())
    parts = model.generative.layers[-1].network  # type: ignore[attr-defined]
    relu = torch.nn.Sequential(*(torch.nn.ReLU() if isinstance(part, torch.nn.Tanh) else part for part in parts))
    decoder = Generative([StandardNormal(2), BernoulliLayer(len(PIXEL_MEANS), relu)])
    assert model.fused
    assert Model(decoder, model.recognition).fused is None


def test_linear_layers_with_tanh_between_are_told_from_other_networks() -> None:
    linear, tanh = torch.nn.Linear(2, 2), torch.nn.Tanh()
    assert linear_layers(linear) == [linear]
    assert linear_layers(torch.nn.Sequential(linear, tanh, linear)) == [linear, linear]
    for other in ((linear, tanh), (linear, torch.nn.ReLU(), linear), (tanh, tanh, linear)):
        assert linear_layers(torch.nn.Sequential(*other)) == []


def test_a_layer_without_derivatives_through_its_samples_leaves_the_discrete_paths() -> None:
    up, down = MODELS["two_layer"](PIXEL_MEANS, randomness()), MODELS["sbn_2"](PIXEL_MEANS, randomness())
    mixed = Recognition([up.recognition.layers[0], down.recognition.layers[1]])
    assert Model(up.generative, mixed).paths == down.paths == ("score", "sleep")


def test_the_prior_itself_can_be_q() -> None:
    model = Model(MODELS["linear_2d"](PIXEL_MEANS, randomness()).generative, Recognition([StandardNormal(2)]))
    assert "reparameterized" in model.paths


def test_what_is_encoded_has_a_row_for_each_image() -> None:
    model = line().model
    assert [part.shape for part in model.encode(torch.zeros(4, 1, dtype=torch.float64))] == [(4, 1), (4, 1)]


def test_binary_units_start_as_fair_coins() -> None:
    model = MODELS["sbn_2"](PIXEL_MEANS, randomness())
    assert not model.generative.layers[0].output(None)[0].any()


def test_output_starts_at_the_pixel_means() -> None:
    logits = gaussian_mlp(PIXEL_MEANS, randomness(), (3,), (7,)).generative.layers[-1].network[-1]  # type: ignore[attr-defined]
    expected = PIXEL_MEANS.clamp(0.001, 0.999)
    torch.testing.assert_close(torch.sigmoid(logits.bias), expected)


def test_densities_of_two_gaussian_layers(two_layer: Model) -> None:
    # Recomputed layer by layer with torch.distributions; the network's second output is log sigma, not log variance.
    x = observations()
    draws = two_layer.draw(x, two_layer.noise(5, 4, randomness(2)))
    first, second = draws.h
    q1, q2 = (layer.network for layer in two_layer.recognition.layers)
    p1, pixels = (layer.network for layer in two_layer.generative.layers[1:])

    def normal(parameters: tuple[Tensor, Tensor], value: Tensor) -> Tensor:
        return Normal(parameters[0], parameters[1].exp()).log_prob(value).sum(-1)

    torch.testing.assert_close(draws.log_q, normal(q1(x), first) + normal(q2(first), second))
    log_prior = Normal(0.0, 1.0).log_prob(second).sum(-1)
    log_pixels = Bernoulli(logits=pixels(first)).log_prob(x.expand(5, -1, -1)).sum(-1)
    torch.testing.assert_close(draws.log_p, log_prior + normal(p1(second), first) + log_pixels)


def test_densities_of_three_binary_layers(belief: Model) -> None:
    x = observations()
    draws = belief.draw(x, belief.noise(5, 4, randomness(2)))
    assert all(set(layer.unique().tolist()) <= {0.0, 1.0} for layer in draws.h)
    below = (x.expand(5, -1, -1), *draws.h)
    up = [layer.network for layer in belief.recognition.layers]
    down = [layer.network for layer in reversed(belief.generative.layers)]

    def bernoulli(logits: Tensor, value: Tensor) -> Tensor:
        return Bernoulli(logits=logits).log_prob(value).sum(-1)

    log_q = sum(bernoulli(network(given), value) for network, given, value in zip(up, below, below[1:], strict=False))
    log_p = sum(bernoulli(network(given), value) for network, given, value in zip(down, below[1:], below, strict=False))
    log_p = log_p + bernoulli(down[-1](None), below[-1])
    torch.testing.assert_close(draws.log_q, log_q)
    torch.testing.assert_close(draws.log_p, log_p)


def test_samples_have_the_probabilities_of_q() -> None:
    model, x, _ = enumerable()
    draws = model.draw(x.expand(1, -1), model.noise(40_000, 1, randomness()))
    (h,) = draws.h
    golden = {(0, 0): 0.254776, (0, 1): 0.170781, (1, 0): 0.343912, (1, 1): 0.230531}
    for state, probability in golden.items():
        share = float((h[:, 0] == torch.tensor(state)).all(-1).double().mean())
        assert share == pytest.approx(probability, abs=5 * 0.5 / 200)


def test_the_sample_kept_follows_the_weights() -> None:
    model, x, _ = line()
    noise = model.noise(3, 1, randomness())
    many = (noise[0].expand(-1, 30_000, -1),)
    draws = model.draw(x.expand(30_000, -1), many, "one_sample", randomness(1))
    weights = torch.softmax(draws.log_weights[:, 0], 0)
    assert draws.kept is not None
    for weight, value in zip(weights, draws.log_weights[:, 0], strict=True):
        share = float(torch.isclose(draws.kept, value).double().mean())
        assert share == pytest.approx(float(weight), abs=5 * 0.5 / 30_000**0.5)


def test_a_number_that_rounding_leaves_above_all_weights_keeps_the_last_sample() -> None:
    model, x, _ = line()
    draws = model.keep_one(x, model.noise(3, 1, randomness()), torch.tensor([1 + 1e-9], dtype=torch.float64))
    assert draws.kept is not None
    torch.testing.assert_close(draws.kept, draws.log_weights[-1])


def test_ancestral_samples_follow_the_model() -> None:
    toy = enumerable()
    x, (h,) = toy.model.generative.sample(100, 200, randomness())
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for pixels in torch.cartesian_prod(bits, bits, bits):
        share = float((x == pixels).all(-1).double().mean())
        assert share == pytest.approx(float(toy.log_evidence(pixels[None]).detach().exp()), abs=5 * 0.5 / 20_000**0.5)
    assert h.shape == (100, 200, 2)
    assert set(x.unique().tolist()) == {0.0, 1.0}


def test_phi_is_held_fixed_but_its_effect_through_the_layer_below_is_not(two_layer: Model) -> None:
    # log q on the stopped path, against finite differences in which only the samples move.
    x, noise = observations(1), two_layer.noise(2, 1, randomness(2))
    log_q = two_layer.draw(x, noise, "stopped_q").log_q.sum()
    parameter = two_layer.phi[0]
    (found,) = torch.autograd.grad(log_q, parameter)
    q, h = two_layer.recognition, []
    fixed = {name: value.detach().clone() for name, value in q.named_parameters()}
    for change in (1e-5, -1e-5):
        with torch.no_grad():
            parameter[1, 3] += change
            h.append(q.sample(x, noise)[0])
            parameter[1, 3] -= change
    values = [float(torch.func.functional_call(q, fixed, (x, value)).sum()) for value in h]
    assert float(found[1, 3]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_samples_on_the_score_path_are_constants(two_layer: Model, belief: Model) -> None:
    for model in (two_layer, belief):
        draws = model.draw(observations(), model.noise(2, 4, randomness()), "score")
        assert not any(layer.requires_grad for layer in draws.h)
        found = torch.autograd.grad(draws.log_p.sum(), model.phi, allow_unused=True)
        assert all(part is None for part in found)


def test_closed_form_kl_is_the_mean_of_the_sampled_one() -> None:
    model = gaussian_mlp(PIXEL_MEANS, randomness(), (3,), (7,)).double()
    x = observations(1)
    draws = model.draw(x, model.noise(100_000, 1, randomness(4)), "analytic_kl")
    assert draws.kl_error is not None
    error = float(draws.kl_error.mean().detach())
    assert abs(error) < 5 * float(draws.kl_error.std().detach()) / 100_000**0.5
    assert float(draws.kl_error.std().detach()) > 0.1


def test_what_a_model_cannot_do_is_refused(two_layer: Model, belief: Model) -> None:
    x = observations()
    with pytest.raises(ValueError, match="offers no path 'reparameterized'; choose from score, sleep"):
        belief.draw(x, belief.noise(2, 4, randomness()), "reparameterized")
    with pytest.raises(ValueError, match="closed form for one Gaussian layer"):
        two_layer.kl(x)
    for path in ("one_sample", "sleep"):
        with pytest.raises(ValueError, match="needs a generator"):
            two_layer.draw(x, two_layer.noise(2, 4, randomness()), path)  # type: ignore[arg-type]


def test_bernoulli_log_likelihood_and_its_gradient() -> None:
    logits = torch.tensor([[[-800.0, -3.0, 0.0, 2.0, 800.0]]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    value = bernoulli_log_likelihood(x, logits)
    expected = -math.log1p(math.exp(3)) - math.log(2) - math.log1p(math.exp(2))
    assert float(value.detach()) == pytest.approx(expected)
    value.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, x - torch.sigmoid(logits.detach()))
    random = torch.randn(3, 1, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: bernoulli_log_likelihood(x, values), random)
    few = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: bernoulli_log_likelihood(x.expand(3, 2, -1), values), few)
