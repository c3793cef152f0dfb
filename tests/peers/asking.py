"""How other libraries are asked for a bound and its gradient, and overheard for the noise they draw."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.contestants.contestant import LATENT, LAYERS, Task
from benchmarks.contestants.core import linear_maps
from iwae_core.models import Model
from iwae_lab.shipped.models import digits, load

K, IMAGES = 6, 4
Array: TypeAlias = NDArray[np.float32]


class Told(NamedTuple):
    """What a library computed: L_k, mean over images, its gradient by map and part, and the noise it drew."""

    bound: float
    gradient: dict[str, Array]
    noise: Array


@pytest.fixture(scope="module")
def model() -> Model:
    return load("vae_k1").requires_grad_()


@pytest.fixture(scope="module")
def task(model: Model) -> Task:
    maps = zip(LAYERS, linear_maps(model), strict=True)
    weights = {f"{name}.{part}": value.detach().numpy() for name, of in maps for part, value in of.named_parameters()}
    return Task(K, 1e-3, weights, threads=1)


@pytest.fixture
def x() -> Array:
    return digits()[:IMAGES].round().numpy()


def listened(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, told: Callable[[Any], object]) -> None:
    """Hear what a function returns."""
    function = getattr(owner, name)

    def listening(*args: Any, **options: Any) -> Any:
        value = function(*args, **options)
        told(value)
        return value

    monkeypatch.setattr(owner, name, listening)


def in_torch(maps: dict[str, torch.nn.Linear], sign: float) -> dict[str, Array]:
    """The gradients of torch's modules."""
    parts = {f"{name}.{part}": value.grad for name, of in maps.items() for part, value in of.named_parameters()}
    return {name: sign * gradient.numpy() for name, gradient in parts.items() if gradient is not None}


def maps_of(body: Any, mean: Any, log_scale: Any, decoder: Any) -> dict[str, torch.nn.Linear]:
    return dict(zip(LAYERS, (body[0], body[2], mean, log_scale, decoder[0], decoder[2], decoder[4]), strict=True))


def pyro(contestant: Any, x: Array, monkeypatch: pytest.MonkeyPatch) -> Told:
    noise: list[Array] = []
    normal = import_module("torch.distributions.normal")
    listened(monkeypatch, normal, "_standard_normal", lambda drawn: noise.append(drawn.numpy()))
    svi = contestant.svi
    with import_module("pyro.poutine").trace(param_only=True):
        loss = svi.loss_and_grads(svi.model, svi.guide, contestant.load(x))
    maps = maps_of(contestant.body, contestant.mean, contestant.log_scale, contestant.decoder)
    return Told(-loss / IMAGES, in_torch(maps, -1 / IMAGES), noise[0].reshape(K, IMAGES, LATENT))


def pythae(contestant: Any, x: Array, monkeypatch: pytest.MonkeyPatch) -> Told:
    noise: list[Array] = []
    listened(monkeypatch, contestant.model, "_sample_gauss", lambda drawn: noise.append(drawn[1].detach().numpy()))
    bound = contestant.bound(contestant.load(x))
    of_bound, noise[:] = np.stack(noise, 1), []
    # Its loss has another value, see the faults; so the bound is heard where it is told, with noise of its own.
    contestant.model(contestant.load(x)).loss.backward()
    encoder, layers = contestant.model.encoder, contestant.model.decoder.layers
    maps = maps_of(encoder.body, encoder.mean, encoder.log_scale, layers)
    gradient = in_torch(maps, -1.0)
    gradient["bound noise"] = of_bound
    return Told(bound, gradient, noise[0].transpose(1, 0, 2))


def numpyro(contestant: Any, x: Array, monkeypatch: pytest.MonkeyPatch) -> Told:
    jax = import_module("jax")
    noise: list[Array] = []
    told = lambda drawn: jax.debug.callback(lambda value: noise.append(np.array(value)), drawn)  # noqa: E731
    svi, state = contestant.svi, contestant.state
    parameters = svi.get_params(state)
    listened(monkeypatch, jax.random, "normal", told)

    def loss(of: Any) -> Any:
        return svi.loss.loss(state.rng_key, of, svi.model, svi.guide, contestant.load(x))

    value, gradients = jax.value_and_grad(loss)(parameters)
    jax.effects_barrier()
    gradient = {name: -np.asarray(of).T / IMAGES for name, of in gradients.items()}
    return Told(-float(value) / IMAGES, gradient, np.stack(noise).reshape(-1, IMAGES, LATENT)[:K])


def tensorflow(contestant: Any, x: Array, monkeypatch: pytest.MonkeyPatch) -> Told:
    tf = import_module("tensorflow")
    normal = import_module("tensorflow_probability.python.distributions.normal")
    noise: list[Array] = []
    listened(monkeypatch, normal.samplers, "normal", lambda drawn: noise.append(drawn.numpy()))
    with tf.GradientTape() as tape:
        bound = contestant._mean_bound(contestant.load(x))
    names = [f"{name}.{part}" for name in contestant.maps for part in ("weight", "bias")]
    gradients = zip(names, tape.gradient(bound, contestant.variables), strict=True)
    return Told(float(bound), {name: of.numpy().T for name, of in gradients}, noise[0].reshape(K, IMAGES, LATENT))
