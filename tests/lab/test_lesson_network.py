"""The numbers of the lesson "What the network learns": sums over a grid against simulation."""

import math

import numpy as np
import pytest
import torch

from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.evaluation.held_out import log_weights
from iwae_lab.lessons.network import plane, typical_width
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.models import digits, load

K, SETS = 20, 400


@pytest.mark.parametrize("name", names("one_layer_2d"))
@pytest.mark.parametrize("digit", [3, 8, 9])
def test_bounds_on_the_grid_agree_with_simulation(name: str, digit: int) -> None:
    found = plane(name, digit, K, 0)
    weights = log_weights(load(name), digits()[digit : digit + 1], K * SETS, seed=1)[:, 0].reshape(K, SETS)
    for bound, value in ((elbo, found.elbo), (iwae_bound, found.l_k)):
        draws = bound(weights)
        error = float(draws.std()) / math.sqrt(SETS)
        assert abs(float(draws.mean()) - value) < 4 * error + 0.02
    assert found.l_k <= found.elbo_of_resampled <= found.log_p


@torch.no_grad()
@pytest.mark.parametrize("name", names("one_layer_2d"))
@pytest.mark.parametrize("digit", [7, 9])
def test_log_p_on_the_grid_agrees_with_draws_from_the_prior(name: str, digit: int) -> None:
    # Not from q, which leaves out much of the posterior of digit 9 in the VAE.
    p_x, x = load(name).generative.layers[-1], digits()[digit : digit + 1]
    h = torch.randn(100, 1000, 1, 2, generator=torch.Generator().manual_seed(2))
    weights = torch.cat([p_x(x, part) for part in h]).double()
    error = float(effective_sample_size(weights)) ** -0.5
    assert error < 0.15
    assert abs(float(iwae_bound(weights)) - plane(name, digit, K, 0).log_p) < 4 * error


def test_the_vae_misses_half_of_digit_9_at_every_k() -> None:
    (vae,) = (name for name in names("one_layer_2d") if name.startswith("vae"))
    lost = [plane(vae, 9, k, 0).log_p - plane(vae, 9, k, 0).l_k for k in (50, 200)]
    assert lost == pytest.approx([math.log(2)] * 2, abs=0.25)


@pytest.mark.parametrize("name", names("one_layer_2d"))
def test_what_is_drawn_belongs_together(name: str) -> None:
    model, x = load(name), digits()[3:4]
    found = plane(name, 3, K, 0)
    assert found.shares.sum() == pytest.approx(1)
    assert found.ess == pytest.approx(1 / (found.shares**2).sum(), rel=1e-5)
    standardised = (plane(name, 3, 200, 0).draws - found.mean) / found.scale
    assert np.abs(standardised.mean(0)).max() < 4 / math.sqrt(200)
    assert standardised.std(0) == pytest.approx(1, abs=0.2)
    assert np.array_equal(found.draws, plane(name, 3, 200, 0).draws[:K]), "another k keeps the draws"
    assert not np.array_equal(found.draws, plane(name, 3, K, 1).draws)
    # Density of the posterior at a node over that at another, by the model itself.
    nodes = [(20, 20), (12, 25)]
    h = torch.tensor([[[found.axes[0][column], found.axes[1][row]]] for row, column in nodes])
    log_ratio = float(model.generative(x, (h,)).diff(dim=0))
    drawn = math.log(found.posterior[nodes[1]] / found.posterior[nodes[0]])
    assert drawn == pytest.approx(log_ratio, abs=1e-2)
    assert plane(name, 3, 1, 0).resampled == pytest.approx(_relative_q(found), abs=1e-5)


def _relative_q(found: object) -> np.ndarray:
    x, y = ((axis - mean) / scale for axis, mean, scale in zip(found.axes, found.mean, found.scale, strict=True))  # type: ignore[attr-defined]
    density = np.exp(-(x[None] ** 2 + y[:, None] ** 2) / 2)
    return density / density.max()


def test_the_iwae_has_the_wider_q() -> None:
    vae, iwae = names("one_layer_2d")[:2]
    assert typical_width(iwae) > 1.2 * typical_width(vae)
    with torch.no_grad():
        scales = load(vae).recognition.layers[0].network(digits())[1].exp()
    assert typical_width(vae) == pytest.approx(float(scales.prod()) ** (1 / scales.numel()), rel=1e-4)
