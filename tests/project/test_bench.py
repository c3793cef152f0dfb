"""The benchmark measures what it says, and refuses contestants that compute something else."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import comparisons, measure, noise, results, table
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


@pytest.fixture(autouse=True)
def _a_short_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "SETTLE", 0.0)
    monkeypatch.setattr(noise, "SECONDS", 0.01)


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
    assert result["noise"].keys() == {"others", "waited", "reasons"}
    assert missing["seconds"] == []
    assert missing["not_run"] == "ModuleNotFoundError: No module named 'a_library_nobody_has'"


def result(batch: int, seconds: float, reasons: tuple[str, ...] = (), cores: int = 1) -> dict[str, Any]:
    """A comparison as it is measured."""
    entries = [
        {"contestant": name, "batch": batch, "k": 5, "seconds": [seconds * times] * 2}
        for name, times in (("core", 1), ("numpyro_renyi", 2))
    ]
    return {"comparison": "training", "cores": cores, "noise": {"reasons": list(reasons)}, "entries": entries}


HERE = {"processor": "A (R) Processor @ 1 GHz", "cores": 2, "python": "3", "torch": "2"}


def test_chosen_cells_are_told_as_they_come_and_kept_unless_the_machine_was_busy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked: list[tuple[Any, Any]] = []
    told: list[str] = []

    def measured(chosen: Any, cores: Any, peers: str, effort: Any) -> Any:
        asked.append(([(c.entries[0].batch, c.entries[0].k) for c in chosen], cores))
        for number, comparison in enumerate(chosen):
            yield result(comparison.entries[0].batch, 0.25, ("others used 1.00 processors",) if number else ())
            told.append(capsys.readouterr().err)

    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}old\n{table.END}after\n")
    monkeypatch.setattr(measure, "measure", measured)
    monkeypatch.setattr(measure, "machine", lambda: HERE)
    monkeypatch.setattr("benchmarks.command.ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    assert main(["bench", "--cells", "20,5", "100,5", "--cores", "1", "--write"]) == 1
    assert [(sizes, len(cores)) for sizes, cores in asked] == [([(20, 5), (100, 5)], 1)]
    assert told == [
        "training (batch 20, k = 5) on 1 core: numpyro_renyi 2.00× (2.00–2.00)\n",
        "training (batch 100, k = 5) on 1 core: numpyro_renyi 2.00× (2.00–2.00) [others used 1.00 processors]\n",
    ]
    assert "not written, since the machine was busy: training (batch 100, k = 5) on 1 core" in capsys.readouterr().err
    (kept,) = results.stored()
    assert [each["entries"][0]["batch"] for each in kept["results"]] == [20]
    assert "| 20, 5 | 4 | 2.00× (2.00–2.00) |" in readme.read_text()
    assert "| 100, 5 |" not in readme.read_text()


def test_kinds_of_machines_stand_side_by_side_and_newer_numbers_replace_older_ones(tmp_path: Path) -> None:
    other = HERE | {"processor": "B"}
    for machine, of in (
        (HERE, result(20, 1.0)),
        (other, result(20, 3.0)),
        (HERE, result(100, 1.0, cores=2)),
        (HERE, result(20, 2.0)),
    ):
        results.keep(machine, of, tmp_path)
    first, second = results.stored(tmp_path)
    assert [(each["cores"], each["entries"][0]["seconds"][0]) for each in first["results"]] == [(1, 2.0), (2, 1.0)]
    assert second["machine"]["processor"] == "B"
    text = table.kinds([first, second])
    assert text.count("Measured on 2 cores of") == 2
    results.keep(HERE | {"torch": "3"}, result(20, 4.0), tmp_path)
    assert len(next(results.stored(tmp_path))["results"]) == 1, "numbers of another torch do not stand beside these"


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        ((0.02, 0.05, 0.01), 0),
        ((None, None, None), 0),
        ((0.02, 0.5, 0.01), 1),
        ((0.02, 0.05, 0.3), 1),
        ((0.9, None, 0.3), 2),
    ],
)
def test_what_is_too_much_noise(found: tuple[float | None, float | None, float | None], reasons: int) -> None:
    assert len(noise.noise(*found)["reasons"]) == reasons


def test_what_others_use_is_what_is_not_idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, now = tmp_path / "stat", iter(["cpu 10 0 10 70 10 0 0 0 5 0\n", "cpu 40 0 10 130 20 0 0 0 9 0\n"])
    monkeypatch.setattr(noise, "STAT", file)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(noise.time, "sleep", lambda seconds: file.write_text(next(now)) if seconds else None)
    file.write_text(next(now))
    assert noise.others() == pytest.approx(2 * 30 / 100)
    monkeypatch.setattr(noise, "STAT", tmp_path / "none")
    monkeypatch.setattr(noise.time, "sleep", lambda seconds: None)
    assert noise.others() is None
    assert noise.waited([1.0, 1.0], [0.5, 1.0]) == 0.25


@pytest.mark.parametrize("words", [["--cells", "20"], ["--cells", "0,5"], ["--cores", "0"], ["--cores", "x"]])
def test_sizes_that_cannot_be_are_refused(words: list[str]) -> None:
    assert main(["bench", *words]) == 2


def test_more_cores_than_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--cores", "100000"]) == 1
    assert "got --cores 100000" in capsys.readouterr().err


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


def test_rows_that_count_are_compared_with_the_fastest_library() -> None:
    times = {"core": 1, "core_counting": 0.5, "plain_torch": 4, "numpyro_renyi": 2, "pyro_renyi": 3, "matmul": 0.75}
    rows = [
        {"comparison": "training", "cores": 1, "entries": entries}
        for entries in (
            [{"contestant": name, "batch": 20, "k": 50, "seconds": [seconds] * 2} for name, seconds in times.items()],
            [{"contestant": name, "batch": 20, "k": 1, "seconds": [times[name]] * 2} for name in ("core", "matmul")],
        )
    ]
    assert "| 20, 1 | 1 |  |  |  |  | 0.75× (0.75–0.75) |" in table.training_table(rows)
    (line,) = table.other_lines(rows)
    assert "NumPyro, 4.00× (4.00–4.00), the matrix products of a full step 1.50× (1.50–1.50)" in line
    for entry_of in rows[0]["entries"]:
        if entry_of["contestant"] in table.LIBRARIES:
            entry_of["seconds"] = []
    (alone,) = table.other_lines(rows)
    assert alone == "- against rows that count (batch 20, k = 50): the matrix products of a full step 1.50× (1.50–1.50)"


def test_the_table_in_readme_is_of_the_results() -> None:
    text = table.BEGIN + table.kinds(results.stored()) + table.END
    assert text in (ROOT / "README.md").read_text(), "run iwae bench --write"


def test_outside_a_clone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.command", None)
    assert main(["bench"]) == 2
    assert "bench runs in a clone of the repository" in capsys.readouterr().err
