"""The benchmark measures what it says, and refuses contestants that compute something else."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import comparisons, measure, table
from benchmarks.agreement import agree
from benchmarks.comparisons import Comparison, Entry, entry
from benchmarks.contestants.contestant import Task
from benchmarks.contestants.core import Core
from benchmarks.contestants.matmul import Matmul
from benchmarks.contestants.matmul_forward import MatmulForward
from benchmarks.contestants.plain_torch import PlainTorch
from benchmarks.process import BenchError
from iwae_lab.__main__ import main

ROOT = Path(__file__).parents[2]
SIZE = 20, 5
WRONG = """
from benchmarks.contestants.plain_torch import PlainTorch, torch

class Surrogate(PlainTorch):
    def mean_bound(self, x):
        log_weights = self.log_weights(x)
        return (torch.softmax(log_weights, 0).detach() * log_weights).sum(0).mean()

CONTESTANT = Surrogate
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("bench") / "start.npz"
    measure.write_start(path, 2)
    with np.load(path) as arrays:
        return dict(arrays)


def task(start: dict[str, Any], k: int) -> Task:
    return Task(k, 1e-3, {name: array for name, array in start.items() if name != "x"}, threads=1)


def test_a_quick_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    absent = tmp_path / "absent.py"
    absent.write_text("import a_library_nobody_has")
    entries = *(entry(name, *SIZE) for name in ("core", "matmul")), Entry(absent, *SIZE)
    monkeypatch.setattr(comparisons, "QUICK", (Comparison("training", entries),))
    assert main(["bench", "--quick", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["machine"].keys() == {"processor", "cores", "python", "torch"}
    (result,) = measured["results"]
    assert (result["comparison"], result["cores"]) == ("training", 1)
    core, matmul, missing = result["entries"]
    for ran in (core, matmul):
        assert len(ran["seconds"]) == measure.QUICK.rounds
        assert min(ran["seconds"]) > 0
    assert len(core["before"]) == len(core["after"]) == 200
    assert matmul["before"] == []
    assert missing["seconds"] == []
    assert missing["not_run"] == "ModuleNotFoundError: No module named 'a_library_nobody_has'"


def test_a_contestant_with_another_bound_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Its gradient is right and its value is not: the surrogate lies above L_k by KL(normalised weights || uniform).
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)
    monkeypatch.setattr(comparisons, "QUICK", (Comparison("training", (entry("core", *SIZE), Entry(wrong, *SIZE))),))
    assert main(["bench", "--quick", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "wrong does not compute the bound of core at batch 20, k = 5: before training it differs by +" in err


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (-90.0, -80.0, ""),
        (-90.0, -82.0, ""),
        (-91.0, -80.0, "before"),
        (-90.0, -90.0, "after"),
        (-90.0, -70.0, "after"),
    ],
)
def test_agreement(before: float, after: float, refused: str) -> None:
    # Ten nats gained: a step that does nothing stays behind by all of them.
    noise = np.linspace(-0.1, 0.1, 20)
    ours = {"before": list(noise - 90), "after": list(noise - 80)}
    theirs = {"before": list(noise + before), "after": list(noise + after)}
    entries = entry("core", *SIZE), entry("plain_torch", *SIZE)
    if not refused:
        agree(entries, [ours, theirs])
        return
    with pytest.raises(BenchError, match=f"k = 5: {refused} training it differs"):
        agree(entries, [ours, theirs])


def test_without_this_project_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(BenchError, match="core: no"):
        agree([entry("core", *SIZE)], [{"not_run": "no"}])


def test_not_a_number_is_refused() -> None:
    fine, broken = ({"before": [value, -1.0], "after": [value, -1.0]} for value in (-2.0, float("nan")))
    with pytest.raises(BenchError, match=r"differs by \+nan"):
        agree([entry("core", *SIZE), entry("plain_torch", *SIZE)], [fine, broken])


def test_plain_torch_and_this_project_on_the_same_noise(start: dict[str, Any]) -> None:
    core, plain = Core(task(start, 7)), PlainTorch(task(start, 7))
    x = core.load(start["x"][:5])
    noise = core.runs[0].model.noise(7, 5, torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = core.runs[0].model.draw(x, noise).log_weights
        torch.testing.assert_close(ours, plain.log_weights(x, noise[0]), atol=2e-3, rtol=0, check_dtype=False)


@pytest.mark.parametrize(("k", "images"), [(1, 20), (50, 7), (50, 10)])
def test_the_limit_counts_every_product_once(start: dict[str, Any], k: int, images: int) -> None:
    # Multiplications of one image and of one sample; the input of the first map is data, without a gradient.
    encoder, decoder = 784 * 200 + 200 * 200 + 2 * 200 * 50, 50 * 200 + 200 * 200 + 200 * 784
    forward = images * (encoder + k * decoder)
    backward = 2 * forward - images * 784 * 200
    products = Matmul(task(start, k)).load(start["x"][:images])
    sizes = [(len(p.input) * p.weight.numel(), 1 + p.to_input) for p in products]
    assert sum(size for size, _ in sizes) == forward
    assert sum(size * times for size, times in sizes) == backward
    assert MatmulForward(task(start, k)).load(start["x"][:images])[0].output.shape == (images, 200)


def test_ratios_are_of_the_same_round() -> None:
    assert table.ratios({"seconds": [2.0, 9.0, 4.0]}, {"seconds": [1.0, 3.0, 4.0]}) == (1.0, 2.0, 3.0)
    assert table.spread((1.0, 2.0, 3.0)) == "2.00× (1.00–3.00)"


def test_the_table_in_readme_is_of_the_results() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    text = table.BEGIN + table.markdown(measured) + table.END
    assert text in (ROOT / "README.md").read_text(), "run iwae bench --write"


def test_outside_a_clone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.command", None)
    assert main(["bench"]) == 2
    assert "bench runs in a clone of the repository" in capsys.readouterr().err
