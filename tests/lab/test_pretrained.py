"""Shipped models: small, unaltered, and their bounds the same as before."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.data import DATASETS, Dataset, DataSource
from iwae_core.evaluation.held_out import log_weights
from iwae_core.models import MODELS, Model
from iwae_lab.__main__ import main
from iwae_lab.shipped import models as pretrained
from iwae_lab.shipped.manifest import manifest, names, stages
from iwae_lab.shipped.models import (
    TOLERANCE,
    PretrainedError,
    choose_digits,
    largest_change,
    load,
    ship,
)
from iwae_lab.shipped.packing import packed, unpacked

SPEC: dict[str, Any] = {"estimator": "iwae", "k": 5, "model": "one_layer_2d", "swaps": []}


def network(seed: int = 0) -> Model:
    return MODELS["one_layer_2d"](torch.full((784,), 0.2), torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def x() -> Tensor:
    return DATASETS["mnist"]().held_out(0, 30)


@pytest.mark.parametrize("bits", [2, 8, 11, 16])
def test_packing_errs_by_half_a_step_at_most_and_keeps_shapes(bits: int) -> None:
    randomness = torch.Generator().manual_seed(bits)
    state = {
        "weight": torch.randn(5, 7, generator=randomness) * torch.tensor([1e-6, 1e-3, 1, 0, 1e6])[:, None],
        "bias": torch.randn(3, generator=randomness),
        "scale": torch.tensor(-2.5),
    }
    found = unpacked(packed(state, bits))
    assert {name: tensor.shape for name, tensor in found.items()} == {name: t.shape for name, t in state.items()}
    for name, tensor in state.items():
        half = tensor.reshape(5 if name == "weight" else 1, -1).abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / 2
        error = (found[name] - tensor).reshape(len(half), -1).abs()
        assert bool((error <= half * (1 + 2**-15) + 1e-30).all())


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, x: Tensor) -> Path:
    folder = tmp_path_factory.mktemp("models")
    ship(
        network(), SPEC, "small", x, lambda stored: {"elbo": float(elbo(log_weights(stored, x, 20, 0)).mean())}, folder
    )
    return folder


def test_a_stored_model_is_small_and_its_bounds_are_the_same(shipped: Path, x: Tensor) -> None:
    model, stored, entry = network(), load("small", shipped), manifest(shipped)["small"]
    assert names("one_layer_2d", shipped) == ("small",)
    assert names("one_layer", shipped) == ()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert (shipped / entry["file"]).stat().st_size < 2 * parameters, "half precision would be smaller"
    before, after = (log_weights(m, x, 200, seed=7) for m in (model, stored))  # other noise than it was tried on
    for bound in (elbo, iwae_bound):
        assert abs(float((bound(after) - bound(before)).mean())) < TOLERANCE
    assert entry["elbo"] == float(elbo(log_weights(stored, x, 20, 0)).mean())
    assert not any(parameter.requires_grad for parameter in stored.parameters())


def test_a_model_of_two_objectives_does_not_stand_among_those_of_one(shipped: Path, x: Tensor, tmp_path: Path) -> None:
    shutil.copytree(shipped, tmp_path, dirs_exist_ok=True)
    swapped = SPEC | {"swaps": [{"step": 7, "estimator": "vae", "k": 1}]}
    ship(network(), swapped, "swapped", x, lambda stored: {}, tmp_path)
    assert names(folder=tmp_path) == ("small", "swapped")
    assert names("one_layer_2d", tmp_path) == ("small",)
    assert [stages(entry["spec"]) for entry in manifest(tmp_path).values()] == [
        [("iwae", 5)],
        [("iwae", 5), ("vae", 1)],
    ]


def test_too_few_bits_are_noticed(x: Tensor) -> None:
    model, coarse = network(), network()
    assert largest_change(model, coarse, x) == 0
    coarse.load_state_dict(unpacked(packed(model.state_dict(), 4)))
    assert largest_change(model, coarse, x) > TOLERANCE


def test_no_such_model_and_altered_files_are_refused(tmp_path: Path, shipped: Path) -> None:
    with pytest.raises(PretrainedError, match="choose from none"):
        load("small", tmp_path)
    shutil.copytree(shipped, tmp_path, dirs_exist_ok=True)
    file = tmp_path / manifest(tmp_path)["small"]["file"]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PretrainedError, match="altered"):
        load("small", tmp_path)
    file.unlink()
    with pytest.raises(PretrainedError, match="No such file"):
        load("small", tmp_path)
    with pytest.raises(PretrainedError, match="choose from small"):
        load("vae", tmp_path)


def test_the_command_ships_every_run_with_what_it_achieves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    quick = ["--batch-size", "4", "--eval-images", "2", "--eval-k", "2", "--model", "one_layer_2d", "--k", "2"]
    assert main(["train", "--estimator", "vae,iwae", "--steps", "2", "--out", str(run), *quick]) == 0
    assert main(["ship", str(run), "--name", "vae,iwae", "--to", str(models), "--k", "10", "--limit", "20"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--k", "10", "--limit", "20", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)["runs"]
    entries = manifest(models)
    assert list(entries) == ["vae", "iwae"]
    assert (models / pretrained.DIGITS).exists()
    for entry, run_result in zip(entries.values(), evaluated, strict=True):
        assert entry["spec"]["estimator"] == run_result["estimator"]
        assert (entry["samples"], entry["images"], entry["step"]) == (10, 20, 2)
        assert (entry["dataset"], entry["binarisation"]) == ("mnist", "dynamic")
        assert entry["nll"] == pytest.approx(run_result["nll"], abs=2 * TOLERANCE)
        assert entry["nll"] != run_result["nll"], "measured before storing"
        assert entry["elbo_stderr"] == pytest.approx(run_result["curve"]["elbo_stderr"][0], rel=0.01)
        assert entry["active_units"] == run_result["active_units"]
    assert main(["ship", str(run), "--name", "vae", "--to", str(models)]) == 2
    assert "give 2 names" in capsys.readouterr().err


def test_models_of_other_data_leave_the_digits_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    white = torch.zeros(20, 784, dtype=torch.uint8)
    other = DataSource(lambda: Dataset(white, white[:, 0], white, white[:, 0]), "Nothing", "")
    monkeypatch.setitem(DATASETS._items, "nothing", other)
    quick = ["--batch-size", "4", "--eval-images", "2", "--eval-k", "2", "--model", "one_layer_2d", "--k", "2"]
    run, models, data = tmp_path / "run", tmp_path / "models", ["--dataset", "nothing", "--estimator", "iwae"]
    assert main(["train", *data, "--steps", "2", "--out", str(run), *quick]) == 0
    assert main(["ship", str(run), "--name", "nothing", "--to", str(models), "--k", "10", "--limit", "20"]) == 0
    assert manifest(models)["nothing"]["dataset"] == "nothing"
    assert not (models / pretrained.DIGITS).exists()


def test_the_digits_are_test_images_one_of_each_class(tmp_path: Path) -> None:
    data = DATASETS["mnist"]()
    x = choose_digits(data)
    assert set(x.unique().tolist()) == {0, 1}
    pretrained.write_digits(x, tmp_path)
    assert torch.equal(pretrained.digits(tmp_path), x)
    first = [data.test_labels.tolist().index(label) for label in range(10)]
    assert bool((data.test[first][x == 1] > 0).all())
    assert bool((data.test[first][x == 0] < 255).all())
