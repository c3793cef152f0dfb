"""Gradient moments against exact ones, and signal-to-noise ratios in the regime where their laws hold."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import iwae_bound
from iwae_core.draws import Draws
from iwae_core.estimators import ESTIMATORS, Surrogate
from iwae_core.estimators.estimator import both
from iwae_core.evaluation.signal import Moments, gradient_moments
from iwae_core.models import Generative, Model, Recognition
from iwae_core.models.factors import Gaussian
from iwae_core.models.networks import Affine, Free
from iwae_core.models.toys import enumerable, line
from iwae_core.randomness import generator


@pytest.mark.parametrize(
    ("name", "mean", "variance"),
    [
        ("iwae", (0.66601081, -0.46439742), (5.06309, 3.76973)),
        ("dreg", (0.66601081, -0.46439742), (1.27403, 0.89879)),
        ("rws", (0.40667422, -0.30991446), (0.64433, 0.62617)),
        ("iwae_one_sample", (0.66601081, -0.46439742), (7.17331, 5.30152)),
    ],
)
def test_moments_of_one_latent_variable(name: str, mean: tuple[float, ...], variance: tuple[float, ...]) -> None:
    # Over 400 data that are all the same, the variance of the mean is a 400th of the golden one.
    toy, repeats, batch = line(), 300, 400
    _, phi = gradient_moments(toy.model, ESTIMATORS[name], toy.x.expand(batch, -1), 2, repeats, seed=1)
    for found, spread, wanted, golden in zip(phi.mean, phi.variance, mean, variance, strict=True):
        assert float(found) == pytest.approx(wanted, abs=5 * math.sqrt(golden / batch / repeats))
        assert float(spread) == pytest.approx(golden / batch, rel=5 * math.sqrt(2 / repeats))
    ratio = phi.signal_to_noise()
    torch.testing.assert_close(ratio, phi.mean.abs() / phi.variance.sqrt())


def test_moments_of_a_discrete_model_and_of_theta() -> None:
    toy = enumerable()
    theta, phi = gradient_moments(toy.model, ESTIMATORS["vimco"], toy.x.expand(100, -1), 2, 300, seed=2)
    golden = [-0.010251674545134815, -0.15174719949266274, 0.19289365776668327, 0.17638016536795248]
    for found, spread, wanted in zip(theta.mean, theta.variance, golden, strict=False):
        assert float(found) == pytest.approx(wanted, abs=5 * float(spread / 300) ** 0.5)
    assert float(phi.variance.sum()) == pytest.approx(1.13634496 / 100, rel=0.25)


def test_a_part_without_parameters_has_no_moments() -> None:
    toy = line()
    toy.model.generative.requires_grad_(False)
    theta, phi = gradient_moments(toy.model, ESTIMATORS["iwae"], toy.x, 2, 3, seed=1)
    assert [len(part.signal_to_noise()) for part in (theta, phi)] == [0, 2]


@pytest.mark.parametrize("name", ["iwae", "wake_sleep"])
def test_moments_are_those_of_the_repetitions(name: str) -> None:
    # Three estimates by hand, each from its own noise and, for what draws once more, its own path; n - 1 below.
    toy, estimator = enumerable() if name == "wake_sleep" else line(), ESTIMATORS[name]
    x = toy.x.expand(2, -1)
    by_hand: list[list[Tensor]] = [[], []]
    for repeat in range(3):
        noise = toy.model.noise(4, 2, generator(5, "moments", repeat))
        draws = toy.model.draw(x, noise, estimator.path, generator(5, "moments, path", repeat))
        for found, value, part in zip(by_hand, estimator(draws), (toy.model.theta, toy.model.phi), strict=True):
            gradients = torch.autograd.grad(value.mean(), part, retain_graph=True)
            found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    moments = gradient_moments(toy.model, estimator, x, 4, 3, seed=5)
    for found, wanted in zip(moments, map(torch.stack, by_hand), strict=True):
        torch.testing.assert_close(found.mean, wanted.mean(0))
        torch.testing.assert_close(found.variance, wanted.var(0))


def test_the_baseline_is_the_mean_log_weight_of_samples_of_their_own() -> None:
    toy, k = line(), 4
    x, baselines = toy.x.expand(3, -1) + torch.tensor([[0.0], [1.0], [5.0]]), []
    with torch.no_grad():
        pilot = toy.model.draw(x, toy.model.noise(k, 3, generator(5, "moments, baseline")))

    def recording(draws: Draws) -> Surrogate:
        baselines.append(draws.baseline)
        return both(iwae_bound(draws.log_weights))

    reports: list[int] = []
    gradient_moments(toy.model, replace(ESTIMATORS["iwae"], surrogate=recording), x, k, 3, 5, reports.append)
    assert baselines == [float(pilot.log_weights.mean())] * 3
    assert reports == [1, 2, 3]


def test_a_parameter_without_gradient_has_a_mean_and_a_variance_of_zero() -> None:
    toy = line()
    toy.model.generative.layers[-1].register_parameter("unused", torch.nn.Parameter(torch.ones(2).double()))
    model = Model(toy.model.generative, toy.model.recognition)
    theta, _ = gradient_moments(model, ESTIMATORS["iwae"], toy.x, 2, 3, seed=1)
    assert sum((theta.mean == 0).tolist()) == sum((theta.variance == 0).tolist()) == 2


def test_no_noise_is_an_infinite_ratio_and_no_gradient_at_all_a_ratio_of_zero() -> None:
    moments = Moments(torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.0, 0.0, 4.0]))
    assert moments.signal_to_noise().tolist() == [0.0, math.inf, 1.0]


# Rainforth's Gaussian in two dimensions near its optimum, every repetition a datum with parameters of its own, so that
# one backward pass gives the gradients of all.

KS = (4, 16, 64)
REPETITIONS = 20_000


def gaussian(mu: Tensor, b: Tensor) -> Model:
    """p(h) = N(mu, I), p(x | h) = N(h, I), q = N(b, 2/3 I)."""
    zero = torch.zeros(2, dtype=torch.float64)
    prior = Gaussian(2, Free(mu.clone(), zero))
    pixels = Gaussian(2, Affine(torch.eye(2, dtype=torch.float64), zero, torch.tensor(0.0).double()))
    width = torch.full((2,), 0.5 * math.log(2 / 3), dtype=torch.float64)
    return Model(Generative([prior, pixels]), Recognition([Gaussian(2, Free(b.clone(), width))]))


def ratios(name: str) -> tuple[list[float], list[float]]:
    """Signal-to-noise of mu and of b, root mean square over coordinates, at each k.

    The encoder's signal for L_k, too faint to be seen in the noise of the plain estimator, is the mean of DReG.
    """
    estimator = ESTIMATORS[name]
    x = torch.tensor([[1.3, -1.2]], dtype=torch.float64).expand(REPETITIONS, -1)
    mu = torch.tensor([0.0, 0.1], dtype=torch.float64).expand(REPETITIONS, -1)
    b = (x + mu) / 2 + torch.tensor([0.2, -0.15], dtype=torch.float64)
    found: tuple[list[float], list[float]] = ([], [])
    for k in KS:
        model = gaussian(mu, b)
        prior, q = model.generative.layers[0].network, model.recognition.layers[0].network  # type: ignore[attr-defined]
        noise = model.noise(k, REPETITIONS, torch.Generator().manual_seed(k))
        surrogate = estimator(model.draw(x, noise, estimator.path))
        (decoder,) = torch.autograd.grad(surrogate.theta.sum(), prior.mean, retain_graph=True)
        (encoder,) = torch.autograd.grad(surrogate.phi.sum(), q.mean)
        signal = encoder.mean(0)
        if estimator.phi == "L_k" and "phi" in estimator.unbiased:
            quiet = ESTIMATORS["dreg"](model.draw(x, noise, "stopped_q")).phi
            signal = torch.autograd.grad(quiet.sum(), q.mean)[0].mean(0)
        found[0].append(float((decoder.mean(0).square() / decoder.var(0)).mean().sqrt()))
        found[1].append(float((signal.square() / encoder.var(0)).mean().sqrt()))
    return found


def slope(values: list[float]) -> float:
    return math.log(values[-1] / values[0]) / math.log(KS[-1] / KS[0])


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("iwae", -0.5), ("dreg", 0.5), ("stl", 0.5), ("rws", 0.5), ("rws_dreg", 0.5), ("vae", 0.5), ("vimco", -0.5)],
)
def test_laws_of_the_ratio(name: str, encoder: float) -> None:
    # IWAE: the encoder's signal fades like 1 / sqrt(k) while the decoder's grows like sqrt(k); the cures let both grow.
    decoder, found = ratios(name)
    assert slope(decoder) == pytest.approx(0.5, abs=0.08)
    assert slope(found) == pytest.approx(encoder, abs=0.13)


def test_settings_of_an_estimator_are_passed_on() -> None:
    # PIWAE with one group is IWAE; with as many groups as samples its phi climbs the ELBO, which is less noisy.
    toy = line()
    x = toy.x.expand(100, -1)
    one, four = (gradient_moments(toy.model, ESTIMATORS["piwae"], x, 4, 50, seed=3, repeats=m)[1] for m in (1, 4))
    plain = gradient_moments(toy.model, ESTIMATORS["iwae"], x, 4, 50, seed=3)[1]
    torch.testing.assert_close(one.mean, plain.mean)
    assert not torch.allclose(four.mean, plain.mean, rtol=0.05)
