"""Moments of gradient estimators at any k: exact ones against golden values and repetitions, and measured ones."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.signal import Moments
from iwae_core.exact.cases import model_law, standard_normal_grid
from iwae_core.exact.law import Law
from iwae_core.exact.weighted_sums import SumMoments, WeightedSums
from iwae_core.models import Generative, Model, Recognition
from iwae_core.models.factors import Gaussian
from iwae_core.models.networks import Affine, Free
from iwae_core.models.toys import line
from iwae_lab.lessons.measured import measure, measured, summary
from iwae_lab.lessons.price import DECODER, FORMS, KS, PATH, SCORE, TOTAL, price, weighted_sums
from iwae_lab.shipped.manifest import names

LINE_KS = (1, 2, 3, 5)
# Columns of `line_sums`: total, path and score, each for the mean and the log of the scale of q; then the slope a.
COLUMN = {TOTAL: 0, PATH: 2, SCORE: 4, DECODER: 6}


@cache
def line_sums() -> WeightedSums:
    """x | h ~ N(a h, s^2) with q = N(mean, scale^2): its derivatives, written out."""
    a, variance, x, mean, scale = 1.3, 0.5, 1.2, 0.3, 0.8
    e = standard_normal_grid(1).nodes[:, 0]
    h = mean + scale * e
    along = a * (x - a * h) / variance - h + e / scale
    path = torch.stack([along, along * scale * e], 1)
    score = torch.stack([e / scale, e.square() - 1], 1)
    theta = (h * (x - a * h) / variance)[:, None]
    toy = line(mean, scale)
    law = model_law(toy.model, toy.x)
    law = Law(law.log_weights.detach(), law.log_prob.detach())
    return WeightedSums(law, torch.cat([path - score, path, score, theta], 1), LINE_KS)


def line_moments(name: str, coordinate: int = 0) -> SumMoments:
    form = FORMS[name]
    return line_sums().moments(COLUMN[form.derivative] + coordinate, form.encoder, form.one_sample)


# By tensor Gauss-Hermite quadrature over both samples: mean and variance of the derivatives in q's mean and log scale.
TWO_SAMPLES = {
    "iwae": ((0.66601081, -0.46439742), (5.06309, 3.76973)),
    "dreg": ((0.66601081, -0.46439742), (1.27403, 0.89879)),
    "stl": ((1.07268504, -0.77431191), (2.09506, 1.60290)),
    "rws": ((0.40667422, -0.30991446), (0.64433, 0.62617)),
    "rws_dreg": ((0.406674, -0.309915), (0.26082, 0.20128)),
    "iwae_one_sample": ((0.66601081, -0.46439742), (7.17331, 5.30152)),
    "vae": ((1.806, -1.8032), (6.13901, 8.90165)),
    "vae_path": ((1.806, -1.8032), (2.54026, 4.29525)),
}


@pytest.mark.parametrize("name", TWO_SAMPLES)
def test_two_samples(name: str) -> None:
    for coordinate, (mean, variance) in enumerate(zip(*TWO_SAMPLES[name], strict=True)):
        found = line_moments(name, coordinate)
        assert float(found.mean[1]) == pytest.approx(mean, abs=1e-6)
        assert float(found.variance[1]) == pytest.approx(variance, abs=2e-5)


def test_three_and_five_samples() -> None:
    # By quadrature over three samples, and by differentiating the exact L_5.
    for coordinate, (mean, plain, quiet, landing) in enumerate(
        [(0.34959968, 2.71879, 0.40223, 0.869149), (-0.20806900, 1.70222, 0.20624, -0.562883)]
    ):
        iwae, dreg = line_moments("iwae", coordinate), line_moments("dreg", coordinate)
        assert float(iwae.mean[2]) == pytest.approx(mean, abs=1e-7)
        assert float(dreg.mean[2]) == pytest.approx(mean, abs=1e-7)
        assert float(iwae.variance[2]) == pytest.approx(plain, abs=5e-5)
        assert float(dreg.variance[2]) == pytest.approx(quiet, abs=5e-5)
        assert float(line_moments("stl", coordinate).mean[2]) == pytest.approx(landing, abs=1e-6)
    assert float(line_moments("iwae").mean[3]) == pytest.approx(0.16314306, abs=1e-8)


def test_the_decoder_and_one_sample_of_k() -> None:
    exact = {1: -1.178, 2: -0.44367426, 5: -0.24623326}
    for one_sample, variance in ((False, 1.36466), (True, 1.95802)):
        found = line_sums().moments(COLUMN[DECODER], {1: 1}, one_sample)
        for k, mean in exact.items():
            assert float(found.mean[LINE_KS.index(k)]) == pytest.approx(mean, abs=1e-7)
        assert float(found.variance[1]) == pytest.approx(variance, abs=1e-5)


def test_both_bounds_at_once() -> None:
    # The mean of CIWAE's gradient is the average of the two; its variance has no cross term only at k = 1.
    both = line_moments("ciwae")
    torch.testing.assert_close(both.mean, (line_moments("vae").mean + line_moments("iwae").mean) / 2)
    assert float(both.variance[0]) == pytest.approx(float(line_moments("iwae").variance[0]))


DIMS, RATIO, SHIFT, REPETITIONS = 3, 1.5, 0.5, 40_000


def rainforth(batch: int) -> tuple[Model, torch.Tensor]:
    """The model of the lesson, each repetition a datum with parameters of its own."""
    zero = torch.zeros(DIMS, dtype=torch.float64)
    x = torch.full((batch, DIMS), math.sqrt(2), dtype=torch.float64)
    b = x / 2
    b[:, 0] += SHIFT * math.sqrt(0.5)
    q = Gaussian(DIMS, Free(b, torch.full((DIMS,), 0.5 * math.log(RATIO / 2), dtype=torch.float64)))
    pixels = Gaussian(DIMS, Affine(torch.eye(DIMS, dtype=torch.float64), zero, torch.tensor(0.0).double()))
    return Model(Generative([Gaussian(DIMS, Free(torch.zeros_like(x), zero)), pixels]), Recognition([q])), x


@pytest.mark.parametrize("name", FORMS)
def test_the_estimators_have_these_moments(name: str) -> None:
    # MIWAE and PIWAE average 8 bounds of k/8; 16 samples make that 8 bounds of two.
    k, form, estimator = 16, FORMS[name], ESTIMATORS[name]
    model, x = rainforth(REPETITIONS)
    noise = model.noise(k, REPETITIONS, torch.Generator().manual_seed(1))
    settings = {"repeats": 8} if "repeats" in estimator.settings else {}
    surrogate = estimator(model.draw(x, noise, estimator.path, torch.Generator().manual_seed(2)), **settings)
    mu, b = (part.layers[0].network.mean for part in (model.generative, model.recognition))  # type: ignore[union-attr]
    (decoder,) = torch.autograd.grad(surrogate.theta.sum(), mu, retain_graph=True)
    (encoder,) = torch.autograd.grad(surrogate.phi.sum(), b)
    for part, gradient in ((price(DIMS, RATIO, SHIFT).encoder, encoder), (price(DIMS, RATIO, SHIFT).decoder, decoder)):
        signal, found = part[name], gradient[:, 0]
        at = int(np.flatnonzero(signal.ks == k)[0])
        error = math.sqrt(signal.variance[at] / REPETITIONS)
        assert float(found.mean()) == pytest.approx(signal.mean[at], abs=5 * error)
        spread = (found - found.mean()).square()
        assert float(spread.mean()) == pytest.approx(
            signal.variance[at], abs=6 * float(spread.std()) / REPETITIONS**0.5
        )
    assert form.one_sample == (estimator.path == "one_sample")


@pytest.mark.parametrize(
    ("name", "power"),
    [("iwae", -0.5), ("miwae", -0.5), ("iwae_one_sample", -1), ("vae", 0.5), ("dreg", 0.5), ("stl", 0.5)],
)
def test_the_laws_of_the_ratio(name: str, power: float) -> None:
    found = price(5, 1.33, 0.3)
    assert found.encoder[name].slope() == pytest.approx(power, abs=0.02)
    assert found.decoder[name].slope() == pytest.approx(0 if name == "iwae_one_sample" else 0.5, abs=0.02)
    if name == "miwae":  # sqrt(M / K) of M = 8 repeats of K = k / 8 samples is 8 times sqrt(1 / k)
        assert found.encoder[name].ratio[-1] == pytest.approx(8 * found.encoder["iwae"].ratio[-1], rel=0.02)


def test_equal_work() -> None:
    found = price(5, 1.33, 0.3).decoder["iwae_one_sample"]
    assert list(found.cost[:2]) == [3, 4]
    assert found.ratio_of_equal_work[-1] == pytest.approx(found.ratio[-1] * math.sqrt(3 * KS[-1] / (KS[-1] + 2)))


def test_far_from_the_law_dreg_fades_too() -> None:
    # Twenty dimensions and q too narrow: chi^2 is large, and what the lesson says about it is true.
    found = price(20, 0.6, 0.3)
    assert found.encoder["dreg"].ratio[-1] < found.encoder["dreg"].ratio[0]


def test_no_k_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        weighted_sums(1, 1.5, 0.3, (0, 1))


def gaussian_moments(mean: float, sd: float, repeats: int, parameters: int, seed: int) -> Moments:
    noise = torch.randn(repeats, parameters, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    values = mean + sd * noise
    return Moments(values.mean(0), values.var(0))


def test_the_summary_of_a_measured_gradient_does_not_take_noise_for_signal() -> None:
    for mean in (0.0, 0.05):
        signal, noise, error = summary([gaussian_moments(mean, 2, 50, 40_000, seed) for seed in range(6)], 50)
        assert noise == pytest.approx(2 * 200, rel=0.01)
        assert signal == pytest.approx(mean * 200, abs=4 * (error * signal if mean else 400 / 200**0.5 / 50**0.5))
    assert 0 < error < 0.1


@pytest.mark.parametrize("name", ["iwae", "dreg", "miwae"])
def test_gradients_are_measured_on_the_shipped_network(name: str) -> None:
    found = measure(names("one_layer")[0], [name], (1, 8), 2, 3)
    ks = [8] if name == "miwae" else [1, 8]
    for part in ("encoder", "decoder"):
        assert [row[0] for row in found[part][name]] == ks
        assert all(noise > 0 and signal >= 0 for _, signal, noise, _ in found[part][name])
    assert (found["repetitions"], list(found["encoder"])) == (6, [name])
    if name == "miwae":  # with as many groups as samples each bound is a log-weight: the ELBO, exactly
        assert found["encoder"][name][0][1:] == measure(found["model"], ["vae"], (8,), 2, 3)["encoder"]["vae"][0][1:]


def test_what_is_stored_is_of_the_network_that_is_shipped() -> None:
    stored = measured()
    assert stored, "the models have changed: run python -m iwae_lab.lessons.measured"
    assert set(stored.price.encoder) == set(stored.price.decoder) == set(FORMS)
    assert 0 < np.median(stored.errors) < 0.05
    assert 0 < stored.errors.max() < 0.5
    for name, signal in stored.price.decoder.items():
        assert (np.diff(signal.ks) > 0).all()
        assert np.array_equal(signal.ks, stored.price.encoder[name].ks)


def test_estimators_of_the_same_gradient_have_the_same_mean_in_the_network() -> None:
    stored = measured()
    assert stored
    for one, other in (("iwae", "dreg"), ("iwae", "iwae_one_sample"), ("vae", "vae_path"), ("rws", "rws_dreg")):
        means = [stored.price.encoder[name].mean for name in (one, other)]
        ratios = [stored.price.encoder[name].ratio for name in (one, other)]
        # The error of a length is about that of one coordinate: sd / sqrt(repetitions), relative to the length.
        error = np.sqrt(sum(1 / ratio**2 for ratio in ratios) / stored.repetitions)
        assert (np.abs(means[0] / means[1] - 1) < 4 * error).all()


def test_the_law_shows_in_the_network() -> None:
    stored = measured()
    assert stored
    encoder, decoder = stored.price
    last = {name: float(signal.ratio[-1] / signal.ratio[0]) for name, signal in encoder.items()}
    assert last["iwae"] < 0.9, "the plain estimator's signal fades"
    assert last["dreg"] > last["iwae"]
    assert min(last["stl"], last["rws"]) > 1
    assert decoder["iwae"].ratio[-1] > 1.5 * decoder["iwae"].ratio[0]
    for signal in decoder.values():
        assert signal.ratio[-1] > signal.ratio[0]


def test_nothing_is_shown_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "signal.json"
    assert measured(path) is None
    path.write_text('{"model": "iwae_k5", "sha256": "0"}')
    assert measured.__wrapped__(path) is None
