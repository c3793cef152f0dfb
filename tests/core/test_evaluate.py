"""Active units against a model whose posterior means are known."""

import pytest
import torch
from torch import Tensor

from iwae_core.evaluation import activity
from iwae_core.evaluation.activity import ACTIVE, active_counts, active_units
from iwae_core.models import MODELS, Generative, Model, Recognition
from iwae_core.models.factors import Gaussian, StandardNormal
from iwae_core.models.networks import Affine, Free
from iwae_core.models.toys import line
from iwae_core.training.snapshots import snapshot

IMAGES = 300


def matrix(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture
def linear() -> tuple[Model, Tensor, Tensor]:
    """Two linear-Gaussian layers of q, with E[h1 | x] = A x and E[h2 | x] = C A x; the second unit of each is dead."""
    a, c = matrix((1.0, 0.5), (0.0, 0.0)), matrix((0.7, 2.0), (0.0, 3.0), (0.2, 0.0))
    below = Gaussian(2, Affine(a, matrix((0.3, -1.0))[0], torch.tensor(-0.5).double()))
    above = Gaussian(3, Affine(c, matrix((0.0, 5.0, 0.0))[0], torch.tensor(0.0).double()))
    zero = torch.zeros(2).double()
    generative = Generative([StandardNormal(3), Gaussian(2, Free(zero, zero)), Gaussian(2, Free(zero, zero))])
    return Model(generative, Recognition([below, above])), a, c


def test_activity_is_the_variance_of_the_posterior_means(linear: tuple[Model, Tensor, Tensor]) -> None:
    model, a, c = linear
    x = torch.randn(IMAGES, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    first, second = active_units(model, x, 500, seed=3)
    torch.testing.assert_close(first, (x @ a.T).var(0))
    torch.testing.assert_close(second, (x @ (c @ a).T).var(0), atol=0.06, rtol=0.02)
    assert (first > ACTIVE).tolist() == [True, False]
    assert (second > ACTIVE).tolist() == [True, False, True]


@pytest.mark.parametrize(("spread", "active"), [(0.0099, 0), (0.0101, 1)])
def test_a_unit_is_active_from_a_variance_of_a_hundredth_on(spread: float, active: int) -> None:
    zero = torch.zeros(1)
    q = Gaussian(1, Affine(torch.ones(1, 1), zero, zero))
    pixels = Gaussian(1, Affine(torch.ones(1, 1), zero, zero))
    model = Model(Generative([StandardNormal(1), pixels]), Recognition([q]))
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    x *= (spread / x.var()).sqrt()
    assert snapshot(0, [model], x, (1, 5), seed=0).active.tolist() == [active]


def test_active_units_are_counted_layer_by_layer(linear: tuple[Model, Tensor, Tensor]) -> None:
    model, _, _ = linear
    x = torch.randn(IMAGES, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert active_counts(model, x, seed=0) == [1, 2]


def test_a_posterior_that_is_the_same_for_all_images_has_no_active_unit() -> None:
    toy = line()
    assert [layer.tolist() for layer in active_units(toy.model, toy.x.expand(7, -1), 3, seed=0)] == [[0.0]]


def test_few_samples_do_not_make_dead_units_look_active(linear: tuple[Model, Tensor, Tensor]) -> None:
    # E[h2 | x] of the dead unit is the same for all x, but its average over a few draws of h1 is not.
    model, _, c = linear
    x = torch.zeros(IMAGES, 2, dtype=torch.float64)
    repeats = torch.stack([active_units(model, x, 4, seed)[1] for seed in range(40)])
    noise = (c.square().sum(1) * torch.exp(torch.tensor(-1.0))) / 4
    assert (noise > 10 * ACTIVE).any(), "premise: the plain variance would be above the threshold"
    assert (repeats.mean(0).abs() < 5 * repeats.std(0) / 40**0.5 + 1e-12).all()


def test_few_samples_leave_the_activity_of_live_units_as_it_is(linear: tuple[Model, Tensor, Tensor]) -> None:
    model, a, c = linear
    x = torch.randn(IMAGES, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    repeats = torch.stack([active_units(model, x, 4, seed)[1] for seed in range(40)])
    error = repeats.mean(0) - (x @ (c @ a).T).var(0)
    assert (error.abs() < 5 * repeats.std(0) / 40**0.5 + 1e-12).all()


def test_images_have_draws_of_their_own(linear: tuple[Model, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    model, seeds = linear[0], []

    def spy(model: Model, x: Tensor, samples: int, randomness: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        seeds.append(randomness.initial_seed())
        return unit_means(model, x, samples, randomness)

    unit_means = activity._unit_means
    monkeypatch.setattr(activity, "_unit_means", spy)
    monkeypatch.setattr(activity, "IMAGES", 1)
    active_units(model, torch.zeros(3, 2, dtype=torch.float64), 4, seed=0)
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("name", ["one_layer", "two_layer", "sbn_2"])
def test_activity_of_the_networks(name: str) -> None:
    model = MODELS[name](torch.full((784,), 0.2), torch.Generator().manual_seed(0))
    x = (torch.rand(20, 784, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    found, again = (active_units(model, x, 10, seed=0) for _ in range(2))
    assert [len(layer) for layer in found] == [layer.units for layer in model.recognition.layers]
    assert all(layer.isfinite().all() for layer in found)
    assert all(torch.equal(first, second) for first, second in zip(found, again, strict=True))
