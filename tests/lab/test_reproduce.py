"""`iwae reproduce`: the paper's experiments, made in several sittings, are those made in one."""

import json
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from iwae_core.training.events import Failed, Progress
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.__main__ import main
from iwae_lab.arguments import parsed, requested
from iwae_lab.cli import reproduce as cli
from iwae_lab.engines.cluster.placement import Placement
from iwae_lab.engines.runner import run
from iwae_lab.engines.settings import SCHEDULER
from iwae_lab.paper import groups
from iwae_lab.paper.cells import PAPER, TABLE_2, Cell
from iwae_lab.paper.groups import GROUPS, home, reference
from iwae_lab.paper.results import read
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, SPEC
from iwae_lab.reproducing import evaluation, pace, training
from tests.support.cluster import shared
from tests.support.resuming import events, kinds, same, same_run
from tests.support.running import linux

SHARE = Fraction(1, 1_000_000)  # ten steps
SIZES = "--k", "20", "--limit", "6"
K1, K5, SWAP = (GROUPS[f"mnist_{name}"] for name in ("l1_k1", "l1_k5", "swap"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "EVAL_IMAGES", 4)
    monkeypatch.setattr(groups, "EVAL_K", 20)
    monkeypatch.setattr(pace, "TRIES", 1)


def reproduce(out: Path, *more: str, cells: str = "mnist_l1_k5") -> int:
    return main(["reproduce", "--share", str(SHARE), "--out", str(out), "--cells", cells, *SIZES, *more])


# What is to be trained.


def test_at_full_share_the_schedules_are_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    whole = Fraction(1)
    assert K1.spec(whole).steps == 3280 * 3000
    assert SWAP.spec(whole).steps == 5467 * 3000
    assert {swap.step for swap in SWAP.spec(whole).swaps} == {3280 * 3000}
    assert GROUPS["omniglot_l2_k50"].spec(whole).steps == 3280 * 1217, "24,345 images are 1,217 whole batches"
    spec = K5.spec(Fraction(1, 30))
    words = "--estimator vae,iwae --k 5 --batch-size 20 --steps 328000 --schedule burda --backward all"
    assert spec == requested(parsed([*words.split(), "--out", "x"])), "trainings begun by `iwae train` are these"


def test_the_groups_hold_every_cell_once() -> None:
    assert len(PAPER) == 2 * 12 + 2
    cells = [cell for group in GROUPS.values() for cell in group.cells]
    assert sorted(map(str, cells)) == sorted({str(cell.model) for cell in PAPER})
    assert [group for group in GROUPS if "mnist" in group] == [
        *("mnist_l1_k1", "mnist_l1_k5", "mnist_l1_k50", "mnist_l2_k50", "mnist_l2_k1", "mnist_l2_k5", "mnist_swap")
    ]
    assert home(Cell("mnist", 1, "iwae", 1)) == (K1, 0)
    assert reference(Cell("mnist", 1, "iwae", 1)) is None
    assert reference(Cell("omniglot", 2, "iwae", 5)) == Cell("omniglot", 2, "vae", 5)
    assert [reference(cell) for cell in TABLE_2] == [Cell("mnist", 1, "vae", 1), Cell("mnist", 1, "iwae", 50)]


def test_numbers_of_the_paper() -> None:
    assert PAPER[Cell("mnist", 1, "iwae", 50)] == (84.78, (25,))
    assert PAPER[Cell("mnist", 2, "iwae", 50)] == (82.90, (26, 7))
    assert PAPER[Cell("omniglot", 1, "vae", 50)] == (107.80, (28,))
    assert PAPER[Cell("omniglot", 2, "iwae", 1)] == (107.56, (30, 5))
    assert PAPER[Cell("mnist", 1, "vae", 1, before=("iwae", 50))] == (86.02, (23,))


# All of MNIST, in one sitting.


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "EVAL_IMAGES", 4)
        patch.setattr(groups, "EVAL_K", 20)
        patch.setattr(pace, "TRIES", 1)
        out = tmp_path_factory.mktemp("reproduced")
        assert reproduce(out, cells="mnist") == 0
        yield out


def test_every_cell_has_its_result(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(whole / "results.json")
    assert set(found) == {cell.model for cell in PAPER if cell.dataset == "mnist"}
    for cell, result in found.items():
        assert (result.images, result.samples, result.share, result.seed) == (6, 20, "1/1000000", 0)
        assert (result.steps, result.binarisation) == (17 if cell.before else 10, "dynamic")
        assert 100 < result.nll < -result.elbo < 600
        assert result.nll_stderr > 0
        assert len(result.active_units) == cell.layers
        assert (result.lead is None) == (reference(cell) is None)
        assert result.seconds > 0
        assert "cores of" in result.machine or "NVIDIA" in result.machine
        if other := reference(cell):
            assert result.lead == pytest.approx(found[other].nll - result.nll, abs=1e-9)
            assert 0 < (result.lead_stderr or 0) < found[other].nll_stderr


def test_results_are_those_of_evaluate(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(whole / "results.json")
    assert main(["evaluate", str(whole / "mnist_l2_k5"), "--json", *SIZES]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 6
    for values, cell in zip(told["runs"], GROUPS["mnist_l2_k5"].cells, strict=True):
        assert (found[cell].nll, found[cell].elbo) == pytest.approx((values["nll"], values["elbo"]), abs=1e-9)
        assert list(found[cell].active_units) == values["active_units"]
    assert found[GROUPS["mnist_l2_k5"].cells[1]].lead_stderr == pytest.approx(told["runs"][1]["lead_stderr"], abs=1e-9)


def test_what_is_done_is_not_done_again(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*.*") if path.name != "results.json"}
    told = (whole / "results.json").read_text()
    assert reproduce(whole, "--json", cells="mnist") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(told)
    assert (whole / "results.json").read_text() == told
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_folder_of_another_share_is_refused(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--share", "1/900000", "--out", str(whole), *SIZES]) == 2
    assert "holds another experiment, such as one of another share or seed" in capsys.readouterr().err


def test_table_2_goes_on_from_the_models_of_table_1_to_the_bit(whole: Path, tmp_path: Path) -> None:
    assert kinds(whole / SWAP.name, Progress)[0].step == 11, "the first stage was made by others"
    alone = tmp_path / "alone"
    training.begin(alone, SWAP, SWAP.spec(SHARE))  # there is nothing to go on from
    deque(run(alone / SWAP.name), maxlen=0)
    assert kinds(alone / SWAP.name, Progress)[0].step == 1
    ours, others = (checkpoint.load(root / SWAP.name / CHECKPOINT) for root in (whole, alone))
    assert same(ours["runs"], others["runs"])
    assert ours["swaps"] == others["swaps"]


# In several sittings.


def ticking(start: int = 0) -> SimpleNamespace:
    """A clock whose every look takes a second."""
    ticks = count(start)
    return SimpleNamespace(monotonic=lambda: float(next(ticks)))


def test_a_sitting_ends_in_time_and_the_next_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, folder = K5.spec(SHARE), tmp_path / K5.name
    training.begin(tmp_path, K5, spec)
    monkeypatch.setattr(training, "time", ticking())
    told: list[int] = []
    assert training.train(folder, 4.0, told.append) is None
    assert told[-1] == training.steps_made(folder) == 4
    assert not training.is_trained(folder)
    assert training.train(folder, 1e9, told.append) is None
    assert told == [*range(1, 11)]
    assert training.is_trained(folder)
    assert same_run(folder, whole / K5.name)

    monkeypatch.setattr(evaluation, "BLOCK", 2)
    monkeypatch.setattr(evaluation, "time", ticking())
    told.clear()
    assert not evaluation.evaluate(folder, 6, 20, 5.0, told.append)
    assert told == [0, 2, 4]
    assert evaluation.images_done(folder, 20) == 4
    assert list(evaluation.results(tmp_path, K5, SHARE, 0)) == [], "nothing is told of some of the images"
    assert evaluation.evaluate(folder, 6, 20, 1e9, told.append)
    for name in "iwae", "elbo", "active":
        ours, others = ((evaluation.values(root / K5.name) or {})[name] for root in (tmp_path, whole))
        np.testing.assert_array_equal(ours, others)


def test_more_images_are_added_and_other_samples_begin_anew(whole: Path, tmp_path: Path) -> None:
    assert reproduce(tmp_path, "--adopt", str(whole)) == 0
    values = evaluation.values(tmp_path / K5.name)
    assert values is not None
    assert reproduce(tmp_path, "--limit", "9") == 0
    more = evaluation.values(tmp_path / K5.name)
    assert more is not None
    np.testing.assert_array_equal(more["iwae"][:, :6], values["iwae"])
    assert [result.images for result in read(tmp_path / "results.json").values()] == [9, 9]
    assert reproduce(tmp_path, "--k", "10") == 0
    assert [(result.images, result.samples) for result in read(tmp_path / "results.json").values()] == [(6, 10)] * 2


def test_no_time_means_no_work_and_a_usable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce(tmp_path, "--hours", "0", cells="mnist_l1_k1,mnist_swap") == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "results.json"]
    assert read(tmp_path / "results.json") == {}
    plan = capsys.readouterr().out
    assert "mnist_l1_k1  MNIST, one stochastic layer: VAE = IWAE, k = 1: step 0 of 10, ready about" in plan
    assert "VAE, k = 1 → IWAE, k = 50 and IWAE, k = 50 → VAE, k = 1: step 0 of 17, ready about" in plan


def test_a_log_tells_the_progress_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(tmp_path / "quiet", cells="mnist_l1_k1") == 0
    assert "mnist_l1_k1: step" not in capsys.readouterr().out
    monkeypatch.setattr(cli, "SAY_EVERY", 0.0)
    assert reproduce(tmp_path / "told", cells="mnist_l1_k1") == 0
    told = capsys.readouterr().out
    assert "mnist_l1_k1: step 7 of 10, ready about " in told
    assert "mnist_l1_k1: image 0 of 6, ready about " in told


# On a cluster.


@linux
def test_a_cluster_trains_what_is_left_and_it_is_the_same_to_the_bit(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training.begin(tmp_path, K5, K5.spec(SHARE))
    monkeypatch.setattr(training, "time", ticking())
    assert training.train(tmp_path / K5.name, 4.0, lambda step: None) is None  # the sitting before was without one
    monkeypatch.setenv(SCHEDULER, shared().address)
    assert reproduce(tmp_path, cells="mnist_l1_k1,mnist_l1_k5,mnist_swap") == 0
    assert (
        "mnist_l1_k5  MNIST, one stochastic layer: VAE, k = 5 and IWAE, k = 5: step 4 of 10\n"
        in capsys.readouterr().out
    )
    placed = Placement.read(tmp_path / K5.name)
    assert (placed.attempt, placed.worker) == (1, ""), "the cluster went on with it, and has let go"
    expected, found = read(whole / "results.json"), read(tmp_path / "results.json")
    for group in K1, K5, SWAP:
        assert same(*(checkpoint.load(root / group.name / CHECKPOINT)["runs"] for root in (whole, tmp_path)))
        for cell in group.cells:
            assert (found[cell].nll, found[cell].elbo) == (expected[cell].nll, expected[cell].elbo)


# Trainings made elsewhere.


def test_finished_trainings_are_taken_over(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    half, other = tmp_path / "others" / "half", tmp_path / "others" / "other"
    for folder, spec in (half, K1.spec(SHARE)), (other, K5.spec(SHARE, seed=1)):
        folder.mkdir(parents=True)
        (folder / SPEC).write_text(spec.to_json())
    training.train(half, 0.0, lambda step: None)
    deque(run(other), maxlen=0)
    (tmp_path / "others" / "strange").mkdir()
    (tmp_path / "others" / "strange" / SPEC).write_text("{}")
    for adopted, group in ((tmp_path / "others", K1), (tmp_path / "others", K5)):
        assert not training.adopt(out / group.name, group.spec(SHARE), [adopted])
        assert not (out / group.name).exists()
    old = json.loads((whole / K5.name / SPEC).read_text())
    del old["binarisation"]  # a specification written before there was a choice
    ours = tmp_path / "mine"
    training.shutil.copytree(whole / K5.name, ours)
    (ours / SPEC).write_text(json.dumps(old))
    assert training.adopt(out / K5.name, K5.spec(SHARE), [tmp_path / "others", ours])
    assert events(out / K5.name) == events(whole / K5.name)
    assert ExperimentSpec.from_json((out / K5.name / SPEC).read_text()) == K5.spec(SHARE)


def test_a_training_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "broken", lambda run, bounds: "its gradient became nan" if run.spec.k == 1 else "")
    assert reproduce(tmp_path, cells="mnist_l1_k1,mnist_l1_k5") == 1
    assert "iwae: mnist_l1_k1: run 1 (VAE, k = 1): its gradient became nan" in capsys.readouterr().err
    assert kinds(tmp_path / "mnist_l1_k1", Failed)
    assert list(read(tmp_path / "results.json")) == list(K5.cells)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cells mnist_l3_k1", "unknown cells 'mnist_l3_k1'; choose from mnist, omniglot, mnist_l1_k1, "),
        ("--share 2", "must be a share of the paper's training such as 1/30, at most 1; got '2'"),
        ("--share 0", "at most 1; got '0'"),
        ("--share 1/0", "at most 1; got '1/0'"),
        ("--hours -1", "must be a number from 0.0 to 10,000.0; got '-1'"),
        ("--cells omniglot --share 1/1000000", "OMNIGLOT does not come with the program; put chardata.mat"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IWAE_OMNIGLOT_DIR", raising=False)
    assert main(["reproduce", "--out", str(tmp_path), *arguments.split()]) in (1, 2)
    assert message in capsys.readouterr().err
