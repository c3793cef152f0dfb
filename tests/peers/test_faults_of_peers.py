"""What other libraries get wrong, in the versions of `benchmarks/requirements.txt`: each test is one line of evidence.

A test that fails tells that its fault is mended, and that `docs/peers.md` should no longer list it.
"""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.contestants.contestant import LATENT, Task
from iwae_core.bounds.diagnostics import perplexity
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.models import Model
from tests.peers.asking import IMAGES, Array, K, listened
from tests.peers.asking import model as model
from tests.peers.asking import task as task
from tests.peers.asking import x as x

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs


def overheard(monkeypatch: pytest.MonkeyPatch, pythae_model: Any, x: Array) -> tuple[float, Tensor]:
    """The loss of one of pythae's models, and the noise it drew, `[k, batch, units]`."""
    noise: list[Tensor] = []
    listened(monkeypatch, pythae_model, "_sample_gauss", lambda drawn: noise.append(drawn[1].detach()))
    loss = pythae_model({"data": torch.from_numpy(x)}).loss.item()
    return loss, noise[0].reshape(IMAGES, K, LATENT).transpose(0, 1)


def test_the_loss_of_pythae_is_a_surrogate_whose_value_lies_above_the_bound(
    model: Model, task: Task, x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythae")
    contestant = import_module("benchmarks.contestants.pythae_iwae").Pythae(task)
    loss, noise = overheard(monkeypatch, contestant.model, x)
    log_weights = model.draw(torch.from_numpy(x), (noise,)).log_weights
    above = np.log(K) - perplexity(log_weights).log().mean().item()
    assert above > 0.1
    assert -loss == pytest.approx(iwae_bound(log_weights).mean().item() + above, rel=1e-5)


@pytest.mark.parametrize(("repeats", "samples"), [(1, K), (K, 1)])
def test_miwae_of_pythae_takes_its_repeats_for_its_samples(
    repeats: int, samples: int, model: Model, task: Task, x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythae")
    peer, models = import_module("benchmarks.contestants.pythae_iwae"), import_module("pythae.models")
    config = models.MIWAEConfig(
        input_dim=(784,),
        latent_dim=LATENT,
        reconstruction_loss="bce",
        number_gradient_estimates=repeats,
        number_samples=samples,
    )
    loss, noise = overheard(monkeypatch, models.MIWAE(config, peer.Encoder(task), peer.Decoder(task)), x)
    log_weights = model.draw(torch.from_numpy(x), (noise,)).log_weights
    # One repeat of k samples should be the IWAE, and k repeats of one sample the VAE.
    weights = torch.softmax(log_weights, 0) if samples == 1 else torch.full_like(log_weights, 1 / K)
    assert -loss == pytest.approx((weights * log_weights).sum(0).mean().item(), rel=1e-5)
    assert (iwae_bound(log_weights) - elbo(log_weights)).mean() > 0.5


def test_get_nll_of_pythae_returns_log_p_and_draws_as_many_samples_as_it_likes(
    task: Task, x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pythae")
    pythae_model = import_module("benchmarks.contestants.pythae_iwae").Pythae(task).model
    drawn: list[int] = []
    listened(monkeypatch, pythae_model, "_sample_gauss", lambda of: drawn.append(len(of[1])))
    assert pythae_model.get_nll(torch.from_numpy(x[:1]), n_samples=1) < 0
    pythae_model.get_nll(torch.from_numpy(x[:1]), n_samples=250)
    assert drawn == [100, 100, 100]


def test_renyi_elbo_of_pyro_scales_a_subsampled_plate_inside_the_logarithm(
    model: Model, task: Task, x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyro = pytest.importorskip("pyro")
    contestant = import_module("benchmarks.contestants.pyro_renyi").Pyro(task)
    plate = pyro.plate

    def half_of_them(name: str, size: int, **given: Any) -> Any:
        return plate(name, 2 * size, subsample=torch.arange(size)) if name == "images" else plate(name, size, **given)

    monkeypatch.setattr(pyro, "plate", half_of_them)
    noise: list[Tensor] = []
    listened(monkeypatch, import_module("torch.distributions.normal"), "_standard_normal", noise.append)
    told = contestant.bound(contestant.load(x))
    log_weights = model.draw(torch.from_numpy(x), (noise[0].reshape(K, IMAGES, LATENT),)).log_weights
    assert told == pytest.approx(iwae_bound(2 * log_weights).mean().item(), rel=1e-5)
    assert told / 2 > iwae_bound(log_weights).mean() + 0.1  # twice as many images, so half of it should be the bound


def test_dreg_of_tensorflow_probability_squares_the_weights_for_theta_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tfp = pytest.importorskip("tensorflow_probability", exc_type=ImportError)
    tf = import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(1)  # as the witness: it can be set once only
    tf.config.threading.set_inter_op_parallelism_threads(1)
    theta, x, k = tf.Variable(1.5), 2.0, 5
    drawn: list[Array] = []
    normal = import_module("tensorflow_probability.python.distributions.normal")
    listened(monkeypatch, normal.samplers, "normal", lambda noise: drawn.append(noise.numpy()))
    posterior = tfp.distributions.Normal(tf.Variable(0.3), tf.Variable(1.2))
    with tf.GradientTape() as tape:
        loss = tfp.vi.monte_carlo_variational_loss(
            lambda h: -0.5 * h**2 - 0.5 * (x - theta * h) ** 2,
            posterior,
            importance_sample_size=k,
            gradient_estimator=tfp.vi.GradientEstimators.DOUBLY_REPARAMETERIZED,
            stopped_surrogate_posterior=tfp.distributions.Normal(0.3, 1.2),
        )
    h = 0.3 + 1.2 * drawn[0].reshape(k)
    log_weights = -0.5 * h**2 - 0.5 * (x - 1.5 * h) ** 2 + 0.5 * drawn[0].reshape(k) ** 2
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    pulls = (x - 1.5 * h) * h
    found = -float(tape.gradient(loss, theta))
    assert found == pytest.approx((weights**2 * pulls).sum(), rel=1e-4)
    assert abs(found - (weights * pulls).sum()) > 0.02
