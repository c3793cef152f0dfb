"""Other libraries as witnesses: on the same weights and the same noise they compute the same bound and gradient.

`make peers` installs them and runs these tests; where one is missing its test is skipped.
"""

from importlib import import_module

import numpy as np
import pytest
import torch

from benchmarks.contestants.contestant import LAYERS, Contestant, Task
from benchmarks.contestants.core import linear_maps
from iwae_core.bounds.diagnostics import pareto_k_hat
from iwae_core.bounds.lower import iwae_bound
from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.estimator import accumulate_gradient
from iwae_core.models import Model
from tests.peers.asking import IMAGES, Array, in_torch, numpyro, pyro, pythae, tensorflow
from tests.peers.asking import model as model
from tests.peers.asking import task as task
from tests.peers.asking import x as x

PEERS = {
    "pyro": ("pyro_renyi", pyro),
    "pythae": ("pythae_iwae", pythae),
    "numpyro": ("numpyro_renyi", numpyro),
    "tensorflow_probability": ("tensorflow_probability", tensorflow),
}


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("library", PEERS)
def test_the_bound_and_its_gradient_are_the_same(
    library: str, model: Model, task: Task, x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library, exc_type=ImportError)
    name, ask = PEERS[library]
    contestant: Contestant = import_module(f"benchmarks.contestants.{name}").CONTESTANT(task)
    told = ask(contestant, x, monkeypatch)
    images = torch.from_numpy(x)

    draws = model.draw(images, (torch.tensor(told.noise),))
    of_bound = told.gradient.pop("bound noise", told.noise)
    bound = iwae_bound(model.draw(images, (torch.tensor(of_bound),)).log_weights).mean()
    assert told.bound == pytest.approx(bound.item(), rel=1e-5)

    model.zero_grad()
    accumulate_gradient(ESTIMATORS["iwae"](draws), model.theta, model.phi, 1 / IMAGES)
    ours = in_torch(dict(zip(LAYERS, linear_maps(model), strict=True)), -1.0)
    assert told.gradient.keys() == ours.keys()
    for part, gradient in ours.items():
        np.testing.assert_allclose(told.gradient[part], gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


@pytest.mark.parametrize("k", [100, 1000])
def test_k_hat_is_that_of_arviz(k: int) -> None:
    arviz = pytest.importorskip("arviz")
    log_weights = 3 * torch.randn(k, 5, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    _, theirs = arviz.psislw(log_weights.T.numpy())
    np.testing.assert_allclose(pareto_k_hat(log_weights).numpy(), theirs, atol=1e-6)
