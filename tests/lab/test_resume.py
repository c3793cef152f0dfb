"""A run that was interrupted and resumed cannot be told from one that was not, to the bit."""

import copy
import math
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iwae_core.training.events import Failed, Finished, Progress, Snapshot, Swapped
from iwae_core.training.loop import Experiment
from iwae_core.training.run import Run
from iwae_core.training.spec import RunSpec
from iwae_lab.__main__ import main
from iwae_lab.engines import runner
from iwae_lab.engines.protocol import Checkpoint, Stop, SwapNow
from iwae_lab.engines.runner import run
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC
from iwae_lab.records.log import read_log
from tests.support.resuming import SPEC_20, after, events, folder_for, kinds, same, same_run, train_and_die


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_for(tmp_path_factory.mktemp("whole") / "run", SPEC_20)
    deque(run(folder), maxlen=0)
    return folder


def test_the_story_of_a_run_with_swaps(whole: Path) -> None:
    assert [event.step for event in kinds(whole, Snapshot)] == [0, 6, 12, 18, 20]
    assert kinds(whole, Swapped) == [Swapped(5, 0, "iwae", 3), Swapped(5, 1, "vae", 2), Swapped(9, 1, "iwae", 2)]
    told = [(type(record.event).__name__, getattr(record.event, "step", None)) for record in read_log(whole / LOG)]
    start = told.index(("Progress", 5))
    assert told[start : start + 5] == [
        ("Progress", 5),
        ("Swapped", 5),
        ("Swapped", 5),
        ("Progress", 6),
        ("Snapshot", 6),
    ]
    assert told[-1] == ("Finished", 20)


@pytest.mark.parametrize("saved_at", [0, 1, 4, 5, 6, 9, 12, 19])
def test_a_killed_run_goes_on_from_its_checkpoint(saved_at: int, whole: Path, tmp_path: Path) -> None:
    folder = folder_for(tmp_path / "run", SPEC_20)
    train_and_die(folder, after(saved_at, Checkpoint()), min(saved_at + 6, 20))
    assert checkpoint.load(folder / CHECKPOINT)["step"] == saved_at
    assert main(["train", "--resume", str(folder), "--json"]) == 0
    assert same_run(folder, whole)
    seconds = [record.seconds for record in read_log(folder / LOG)]
    assert seconds == sorted(seconds)


def test_a_run_can_be_interrupted_again_and_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_for(tmp_path / "run", SPEC_20)
    train_and_die(folder, after(99), 2)
    assert not (folder / CHECKPOINT).exists(), "then it begins at its beginning"
    monkeypatch.setattr(runner, "SAVE_FIRST", 0.0)
    monkeypatch.setattr(runner, "SAVE_EVERY", 0.0)
    for steps in 3, 6, 7, 13, 20:
        train_and_die(folder, after(99), steps)
        assert checkpoint.load(folder / CHECKPOINT)["step"] == steps - 1
    deque(run(folder), maxlen=0)
    assert same_run(folder, whole)


def test_checkpoints_come_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_for(tmp_path / "run", SPEC_20)
    times: list[float] = []
    save = checkpoint.save
    monkeypatch.setattr(runner.Clock, "seconds", lambda clock: 7.0 * len(kinds(folder, Progress)))
    monkeypatch.setattr(checkpoint, "save", lambda path, state: (times.append(state["seconds"]), save(path, state)))
    train_and_die(folder, after(99), 18)
    # Every step takes 7 seconds. Then it is saved after twice the time, and after a minute once that is less.
    assert times == [7.0, 14.0, 28.0, 56.0, 112.0]
    del times[:]
    deque(run(folder), maxlen=0)
    assert times == [119.0, 126.0, 140.0], "one that goes on is saved early again, and at its end"


def test_a_stopped_run_goes_on(whole: Path, tmp_path: Path) -> None:
    folder = folder_for(tmp_path / "run", SPEC_20)
    deque(run(folder, after(7, Stop())), maxlen=0)
    assert kinds(folder, Finished) == [Finished(7, stopped=True, reason="stopped by hand")]
    assert main(["train", "--resume", str(folder), "--json"]) == 0
    assert same_run(folder, whole)


def test_a_swap_on_command_is_the_planned_swap_and_survives(whole: Path, tmp_path: Path) -> None:
    # The first swap is asked for, not planned; the log and the weights are the same. No other checkpoint was asked for.
    folder = folder_for(tmp_path / "run", replace(SPEC_20, swaps=SPEC_20.swaps[:1]))
    train_and_die(folder, after(5, SwapNow(0, "iwae", 3), SwapNow(1, "vae", 2)), 11)
    assert checkpoint.load(folder / CHECKPOINT)["step"] == 5
    deque(run(folder), maxlen=0)
    assert events(folder)[1:] == events(whole)[1:], "only Started, with the specification, differs"
    ours, planned = (checkpoint.load(path / CHECKPOINT) for path in (folder, whole))
    assert same(ours["runs"], planned["runs"])
    assert ours["swaps"] == planned["swaps"]


def test_a_swap_changes_what_follows_and_nothing_before(whole: Path, tmp_path: Path) -> None:
    plain = folder_for(tmp_path / "run", replace(SPEC_20, swaps=()))
    deque(run(plain), maxlen=0)
    ours, others = kinds(plain, Progress), kinds(whole, Progress)
    assert ours[:5] == others[:5]
    assert all(a.elbo[0] != b.elbo[0] and a.elbo[1] != b.elbo[1] for a, b in zip(ours[6:], others[6:], strict=True))


def test_a_swapped_run_is_one_of_the_other_estimator_with_the_same_weights_and_moments() -> None:
    experiment = Experiment(SPEC_20)
    swapped = experiment.runs[0]
    other = Run(RunSpec("iwae", 3), SPEC_20, experiment.data.train_mean)
    x = experiment.data.minibatch(0, 0, 8)
    for step in range(3):
        swapped.step(x, step)
    other.load_state_dict(copy.deepcopy(swapped.state_dict()))
    swapped.swap("iwae", 3)
    assert swapped.step(x, 3) == other.step(x, 3)
    assert same(swapped.state_dict(), other.state_dict())
    assert all(moments["step"] == 4 for moments in swapped.optimiser.state.values())


def test_a_failed_run_fails_again_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = Run.gradient

    def broken(self: Run, x: torch.Tensor, step: int) -> tuple[float, float]:
        bounds = gradient(self, x, step)
        return (math.nan, math.nan) if step == 12 else bounds

    monkeypatch.setattr(Run, "gradient", broken)
    folder = folder_for(tmp_path / "run", SPEC_20)
    deque(run(folder), maxlen=0)
    first = events(folder)
    assert [event.step for event in kinds(folder, Failed)] == [12]
    assert checkpoint.load(folder / CHECKPOINT)["step"] == 12, "the last good state is saved"
    deque(run(folder), maxlen=0)
    assert events(folder) == first


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A folder whose run was stopped half-way."""
    folder = folder_for(tmp_path / "half", SPEC_20)
    deque(run(folder, after(10, Stop())), maxlen=0)
    return folder


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    def content() -> bytes | None:
        return (folder / LOG).read_bytes() if (folder / LOG).exists() else None

    before = content()
    assert main(["train", "--resume", str(folder), *options]) in (1, 2)
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert content() == before, "a refusal leaves the log alone"
    return output


def test_what_cannot_be_resumed(half: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no run" in refusal(tmp_path, capsys)
    assert "has come to its end: all 20 steps are made" in refusal(whole, capsys)
    for option in ["--steps", "30"], ["--k", "2"], ["--swap", "0:4:iwae:2"], ["--schedule", "burda"]:
        assert "a run goes on as it was begun; give no other settings" in refusal(half, capsys, *option)
    (half / SPEC).write_text(replace(SPEC_20, seed=4).to_json())
    assert "is of another experiment than the spec.json beside it" in refusal(half, capsys)


def test_a_run_that_ended_needs_its_checkpoint(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (half / CHECKPOINT).unlink()
    assert "has ended, but its checkpoint.pt is missing" in refusal(half, capsys)


def test_a_log_that_lost_records_is_refused(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (half / LOG).read_text().splitlines(keepends=True)
    (half / LOG).write_text("".join(lines[:-2]))
    assert "lost records" in refusal(half, capsys)


def test_a_run_in_training_is_refused(half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = run(half)
    next(session)
    assert "is being trained by another process" in refusal(half, capsys)
    session.close()


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_checkpoint_is_refused(damage: str, half: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((half / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 1
    (half / CHECKPOINT).write_bytes(content if damage == "flip" else content[:-100])
    assert "truncated or altered" in refusal(half, capsys)


def test_another_format_is_refused(
    half: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 3)
        checkpoint.save(half / CHECKPOINT, {})
    assert "its format is 3, this version reads 2" in refusal(half, capsys)
    with pytest.raises(CheckpointError, match="another version"):
        next(run(half))
