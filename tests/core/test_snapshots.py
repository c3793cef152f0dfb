"""What an evaluation tells: the spread of one estimate, its log-weights, active units, exact log p(x), the plane."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from iwae_core.evaluation.activity import ACTIVE, active_units
from iwae_core.evaluation.held_out import SHOWN, bound_curves, estimator_variance, log_weights
from iwae_core.evaluation.plane import DEEP, PRIOR, SIDE, _box, grid, latent_plane
from iwae_core.models import MODELS, Model
from iwae_core.models.factors import Gaussian
from iwae_core.models.linear import closed_form, linear_gaussian
from iwae_core.models.networks import Affine
from iwae_core.training.events import Record, Snapshot, decode, encode
from iwae_core.training.snapshots import pictures, snapshot, weighed
from iwae_lab.records.log import read_log

PIXELS = 12
KS = (1, 2, 5, 10, 50, 100)
RECORDED = Path(__file__).parents[2] / "iwae_lab/assets/recorded/long.jsonl.xz"


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def observations(images: int = 15) -> Tensor:
    return (torch.rand(images, PIXELS, generator=randomness(1)) < 0.4).float()


@cache
def models() -> tuple[Model, ...]:
    names = ("one_layer_2d", "linear_2d", "two_layer")
    return tuple(MODELS[name](torch.linspace(0.1, 0.8, PIXELS), randomness()) for name in names)


@cache
def taken() -> Snapshot:
    return snapshot(3, models(), observations(), KS, seed=7)


# The spread of one estimate.


def test_spread_of_a_law_with_known_variances() -> None:
    # w ~ Exp(1): var(log w) = pi^2 / 6, and the log of the mean of k has variance psi'(k).
    log_w = torch.empty(100, 20_000, dtype=torch.float64).exponential_(generator=randomness()).log()
    found = estimator_variance(log_w, KS)
    trigamma = torch.polygamma(1, torch.tensor(KS[:-1], dtype=torch.float64))
    for row, exact in ((0, torch.pi**2 / 6 / torch.tensor(KS)), (1, trigamma)):
        values = found[row, : len(exact)]
        error = (values.mean(1) - exact) / (values.std(1) / 20_000**0.5)
        assert error.abs().max() < 5
    assert found[1, -1].isnan().all(), "one block cannot tell"


def test_spread_against_fresh_samples_of_a_model() -> None:
    # 4000 independent k-sample estimates of one image, against blocks of the samples of an evaluation.
    model, x = models()[0], observations(1)
    found = bound_curves(model, x, (1, 5, 20, 2000), seed=0).variance[:, :, 0]
    for point, k in enumerate((1, 5, 20)):
        noise = model.noise(k, 4000, randomness(point))
        with torch.no_grad():
            fresh = model.draw(x.expand(4000, -1), noise).log_weights.double()
        for row, values in enumerate((fresh.mean(0), fresh.logsumexp(0))):
            # A variance from n values has a relative error of about sqrt(2 / n), more for heavy tails: 2000/k blocks.
            assert float(found[row, point]) == pytest.approx(float(values.var()), rel=5 * (2 * k / 2000) ** 0.5 + 0.1)


def test_spread_where_sizes_do_not_divide_the_samples() -> None:
    # Blocks of 20 in 50 samples: two, and ten samples are left over.
    log_w = torch.randn(50, 3, generator=randomness(), dtype=torch.float64)
    (_, found), blocks = estimator_variance(log_w, (1, 2, 5, 10, 20, 50)), [log_w[:20], log_w[20:40]]
    wanted = torch.stack([block.exp().mean(0).log() for block in blocks]).var(0)
    torch.testing.assert_close(found[4], wanted)
    assert found[5].isnan().all()


def test_no_spread_where_q_is_the_posterior() -> None:
    model = linear_gaussian(torch.full((PIXELS,), 0.3), randomness(), units=2).double()
    affine = model.generative.layers[1].network
    assert isinstance(affine, Affine)
    with torch.no_grad():
        affine.weight.copy_(torch.eye(PIXELS, 2) * torch.tensor([2.0, 0.7]))
        precision = 1 + torch.exp(-2 * affine.log_scale) * torch.tensor([4.0, 0.49])
        up = torch.exp(-2 * affine.log_scale) * (affine.weight / precision).T
        model.recognition.layers = (Gaussian(2, Affine(up, -up @ affine.bias, -0.5 * precision.log())),)
    curves = bound_curves(model, observations().double(), KS, seed=0)
    assert float(curves.variance[0].max()) < 1e-12
    assert float(curves.variance[1, :-1].max()) < 1e-12
    known = closed_form(model, observations())
    assert known is not None
    torch.testing.assert_close(curves.iwae, known.log_p.expand(len(KS), -1), atol=1e-6, rtol=0)


def test_the_snapshot_holds_the_root_mean_square_over_images() -> None:
    weights = log_weights(models()[1], observations(), 100, seed=7)
    wanted = (weights.var(0).mean() / torch.tensor(KS)).sqrt()
    assert taken().spread[1, 0] == pytest.approx(wanted.numpy(), rel=1e-5)
    blocks = weights.unflatten(0, (10, 10)).logsumexp(1).var(0).mean().sqrt()
    assert taken().spread[1, 1, KS.index(10)] == pytest.approx(float(blocks), rel=1e-5)
    assert np.isnan(taken().spread[:, 1, -1]).all()


# Weights, units, likelihood.


def test_log_weights_are_those_of_the_bounds() -> None:
    for run, model in enumerate(models()):
        weights = log_weights(model, observations(), 100, seed=7)
        assert taken().log_weights[run] == pytest.approx(weights[:SHOWN, :10].numpy(), rel=1e-5)
    few = snapshot(0, models()[:1], observations(4), (1, 5), seed=7)
    assert few.log_weights.shape == (1, 5, 4)


@pytest.mark.parametrize(("samples", "kept"), [(1, 1), (10, 10), (1000, SHOWN)])
def test_weights_of_a_digit_are_shares_of_the_samples_asked_for(samples: int, kept: int) -> None:
    weights, effective = weighed(taken(), digit=4, samples=samples)
    assert isinstance(weights, np.ndarray)
    assert isinstance(effective, np.ndarray)
    assert weights.shape == (len(models()), kept)
    wanted = np.exp(taken().log_weights[:, :kept, 4].astype(np.float64))
    wanted /= wanted.sum(1, keepdims=True)
    np.testing.assert_allclose(weights, wanted)
    np.testing.assert_allclose(effective, 1 / np.square(wanted).sum(1))


def test_active_units_of_all_layers() -> None:
    assert taken().units.tolist() == [2, 2, 150]
    for run, model in enumerate(models()):
        activity = active_units(model, observations(), 20, seed=7)
        assert taken().active[run] == sum(int((layer > ACTIVE).sum()) for layer in activity)


def test_log_p_where_it_is_known() -> None:
    known = closed_form(models()[1], observations())
    assert known is not None
    assert taken().log_p[1] == pytest.approx(known.log_p.numpy(), rel=1e-6)
    assert np.isnan(taken().log_p[[0, 2]]).all()
    assert taken().iwae[1, -1].mean() < taken().log_p[1].mean() + 0.1


# The latent plane.


def test_the_first_coordinate_changes_fastest() -> None:
    h = grid(torch.tensor([1.0, -2.0, 0.5])).reshape(SIDE, SIDE, 2)
    assert h[3, 0].tolist() == pytest.approx([0.5, -2.5 + 3 / (SIDE - 1)])
    assert h[0, -1].tolist() == pytest.approx([1.5, -2.5])


def test_coordinates_belong_to_their_weights() -> None:
    # log w = log p(x, h) - log q(h | x) at the coordinates; float16 leaves three digits of them.
    x = observations()[:10].double()
    for run in (0, 1):
        model = models()[run]
        h = torch.from_numpy(taken().plane_samples[run].astype(np.float64))
        with torch.no_grad():
            found = model.double().generative(x, (h,)) - model.recognition(x, (h,))
        model.float()
        assert taken().log_weights[run] == pytest.approx(found.numpy(), abs=0.05)
        mean, scale = taken().plane_q[run, :, 0], taken().plane_q[run, :, 1]
        assert taken().plane_samples[run].mean(0) == pytest.approx(mean, abs=5 * float(scale.max()) / SHOWN**0.5)


def test_the_posterior_of_a_linear_model_is_its_closed_form() -> None:
    model, x = models()[1], observations()[:10]
    known = closed_form(model, x)
    assert known is not None
    precision = torch.linalg.inv(known.covariance)
    for image in range(10):
        h = grid(torch.from_numpy(taken().plane_box[1, image])).double()
        away = h - known.mean[image]
        ratio = torch.exp(-0.5 * torch.einsum("ni,ij,nj->n", away, precision, away))
        wanted = 255 * (ratio / ratio.max()).reshape(SIDE, SIDE)
        density = taken().plane[1, image].astype(float)
        assert density == pytest.approx(wanted.numpy(), abs=0.6)
        # The region holds nearly all of the posterior: its mean is found again.
        centre = (density.reshape(-1, 1) * h.numpy()).sum(0) / density.sum()
        assert centre == pytest.approx(known.mean[image].numpy(), abs=0.02)


def test_the_posterior_of_a_network_is_the_joint_density_of_its_points() -> None:
    model, x = models()[0], observations()[:10]
    for image in (0, 7):
        h = grid(torch.from_numpy(taken().plane_box[0, image]))
        with torch.no_grad():
            joint = model.generative(x[image : image + 1], (h[:, None],))[:, 0]
        wanted = 255 * torch.exp(joint - joint.max()).reshape(SIDE, SIDE)
        assert taken().plane[0, image] == pytest.approx(wanted.numpy(), abs=0.6)


def test_the_region_shows_the_posterior_wherever_q_is() -> None:
    model = linear_gaussian(torch.full((PIXELS,), 0.3), randomness(), units=2)
    x = observations(3)
    with torch.no_grad():
        model.generative.layers[1].network.weight.mul_(10)  # type: ignore[union-attr,operator]
        model.recognition.layers[0].network.bias.copy_(torch.tensor([-2.5, 3.0]))  # type: ignore[union-attr,operator]
        model.recognition.layers[0].network.log_scale.fill_(-3)  # type: ignore[union-attr,operator]
    known, found = closed_form(model, x), latent_plane(model, x)
    assert known is not None
    assert float(known.covariance.diagonal().max()) < 0.01, "premise: narrow, between the points of the first grid"
    for image, box in enumerate(found["plane_box"]):
        for point in (known.mean[image].numpy(), found["plane_q"][image, 0]):
            assert (abs(point - box[:2]) < box[2]).all()
        assert found["plane"][image].max() == 255


def test_the_region_is_found_at_the_edges_of_the_prior_and_holds_q() -> None:
    model = linear_gaussian(torch.full((PIXELS,), 0.3), randomness(), units=2).double()
    pixels, q = model.generative.layers[1].network, model.recognition.layers[0].network
    assert isinstance(pixels, Affine)
    assert isinstance(q, Affine)
    far = torch.tensor([[3.8, 3.8], [-3.8, -3.8]], dtype=torch.float64)
    with torch.no_grad():
        pixels.weight.mul_(10)
        q.weight.zero_()
        q.log_scale.copy_(torch.tensor([0.0, 0.7]))
        found = latent_plane(model, far @ pixels.weight.T + pixels.bias)
    known = closed_form(model, far @ pixels.weight.T + pixels.bias)
    assert known is not None
    assert [found[name].dtype for name in ("plane", "plane_box", "plane_q")] == [np.uint8, np.float32, np.float32]
    for box, mean, point in zip(found["plane_box"], known.mean.numpy(), far.numpy(), strict=True):
        assert mean == pytest.approx(point, rel=0.05), "premise: the pixels leave little doubt"
        assert (abs(mean - box[:2]) < box[2]).all()
        wide = q.bias.detach().numpy() + 3.4 * np.exp(0.7) * np.array([[0, 1], [0, -1]])
        assert (abs(wide - box[:2]) <= box[2]).all()


def test_the_region_is_found_where_q_is_far_from_it_and_holds_little_else() -> None:
    model = linear_gaussian(torch.full((PIXELS,), 0.3), randomness(), units=2).double()
    pixels, q = model.generative.layers[1].network, model.recognition.layers[0].network
    assert isinstance(pixels, Affine)
    assert isinstance(q, Affine)
    points = torch.tensor([[-3.7, 1.0], [1.0, -3.7], [3.7, 1.0], [1.0, 3.7]], dtype=torch.float64)
    with torch.no_grad():
        pixels.weight.mul_(10)
        x = points @ pixels.weight.T + pixels.bias
        known = closed_form(model, x)
        assert known is not None
        q.weight.zero_()
        q.log_scale.fill_(-3)
        found = latent_plane(model, x)
    for box, mean in zip(found["plane_box"], known.mean.numpy(), strict=True):
        assert (abs(mean - box[:2]) < box[2]).all()
        assert box[2] < 2.3, "half of what lies between it and q"


def test_the_region_is_a_step_larger_than_what_can_be_seen() -> None:
    step = 2 * PRIOR / (SIDE - 1)
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    values = torch.tensor([-1.0, 0.0, -7.9, -DEEP])  # the last can just not be seen
    narrow, wide = (torch.tensor([[0.5, 1.0], [scale, scale]]) for scale in (0.01, 2.0))
    assert _box(values, narrow, points).tolist() == pytest.approx([0.5, 1.0, 1 + step])
    assert _box(values, wide, points).tolist() == pytest.approx([0.5, 1.0, 7.0])


def test_grey_values_are_whole_numbers_of_one_byte() -> None:
    found = pictures(torch.tensor([-0.5, 0.0, 0.2, 0.499, 0.5, 1.0, 1.5]))
    assert found.dtype == np.uint8
    assert found.tolist() == [0, 0, 51, 127, 128, 255, 255]


def test_models_without_a_plane_leave_theirs_blank() -> None:
    assert taken().plane.shape == (3, 10, SIDE, SIDE)
    assert not taken().plane[2].any()
    assert np.isnan(taken().plane_q[2]).all()
    assert taken().plane_samples.dtype == np.float16
    assert snapshot(0, models()[2:], observations(4), (1, 5), seed=7).plane.size == 0


def test_snapshots_are_compact_and_survive_the_log() -> None:
    line = encode(Record(0, 0.0, taken()))
    assert encode(decode(line)) == line
    assert len(line) < 150_000
    assert json.loads(encode(Record(0, 1.23456789, taken())))["seconds"] == 1.2346


def test_older_logs_still_decode() -> None:
    records = [record.event for record in read_log(RECORDED)]
    older = next(event for event in records if isinstance(event, Snapshot))
    assert older.iwae.size
    assert decode(encode(Record(0, 0.0, older))).event.step == older.step
