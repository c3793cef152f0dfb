"""Where models are trained. What needs a CUDA device is checked where there is one."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from iwae_core.device import DeviceError, on_processor, training_device
from iwae_core.training.events import Finished, Snapshot
from iwae_core.training.loop import Experiment
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec, RunSpec

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
SMALL = ExperimentSpec(runs=(RunSpec("vae", 5), RunSpec("iwae", 5)), batch_size=10, steps=5, eval_images=20, eval_k=20)


def test_the_processor_where_there_is_nothing_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IWAE_DEVICE", raising=False)
    assert training_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("IWAE_DEVICE", "cpu")
    assert training_device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "cpu,cuda", "\N{CAT FACE}"])
def test_a_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_DEVICE", name)
    with pytest.raises(DeviceError, match=f"^IWAE_DEVICE={name} cannot be used here .*use cpu, or leave it unset$"):
        training_device()


def test_the_command_line_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("IWAE_DEVICE", "toaster")
    command = [sys.executable, "-m", "iwae_lab", "train", "--steps", "1", "--out", f"{tmp_path}/run"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1
    assert "IWAE_DEVICE=toaster cannot be used here" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_prepared_thread_computes_alone_and_without_denormal_numbers() -> None:
    def prepared() -> tuple[int, float]:
        torch.set_num_threads(2)
        torch.set_flush_denormal(False)  # a thread begins with the setting of the one that made it
        assert torch.tensor([1e-38]) * 1e-3 > 0, "premise"
        prepare_process()
        return torch.get_num_threads(), float(torch.tensor([1e-38]) * 1e-3)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(prepared).result() == (1, 0.0)


def test_a_model_on_the_processor_is_not_copied() -> None:
    model = Experiment(SMALL, torch.device("cpu")).runs[0].model
    assert on_processor(model) is model


@cuda
@pytest.mark.parametrize("estimator", ["vae", "iwae", "iwae_one_sample", "dreg", "rws", "vimco", "vae_analytic_kl"])
@pytest.mark.parametrize("k", [5, 300])
def test_one_gradient_on_every_device(estimator: str, k: int) -> None:
    spec = replace(SMALL, runs=(RunSpec(estimator, k),))
    found = []
    for device in ("cpu", "cuda"):
        experiment = Experiment(spec, torch.device(device))
        bounds = experiment.runs[0].gradient(experiment.data.minibatch(0, 0, 10), 0)
        parts = [p.grad.cpu() for p in experiment.runs[0].model.parameters() if p.grad is not None]
        found.append((bounds, torch.cat([part.flatten() for part in parts])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert float((found[0][1] - found[1][1]).norm()) < 1e-3 * float(found[0][1].norm())


@cuda
@pytest.mark.parametrize("model", ["one_layer", "two_layer", "one_layer_2d", "linear"])
def test_an_experiment_on_a_gpu_is_the_one_on_the_processor(model: str) -> None:
    spec = replace(SMALL, runs=(RunSpec("vae", 5, model), RunSpec("iwae", 5, model)))
    ends = []
    for device in ("cpu", "cuda"):
        events = list(Experiment(spec, torch.device(device)).train())
        assert isinstance(events[-1], Finished)
        ends.append([event for event in events if isinstance(event, Snapshot)][-1])
    np.testing.assert_allclose(ends[0].iwae, ends[1].iwae, rtol=1e-3)
    np.testing.assert_array_equal(ends[0].units, ends[1].units)
