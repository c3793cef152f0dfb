"""A run that was interrupted and resumed cannot be told from one that was not, to the bit."""

import copy
import math
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from iwae_core.training.events import Closeup, Event, Failed, Finished, Progress, Snapshot, Swapped, encode
from iwae_core.training.loop import Experiment
from iwae_core.training.patience import Patience
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.__main__ import main
from iwae_lab.engines import runner
from iwae_lab.engines.protocol import Checkpoint, Order, Resume, Slow, Step, Stop, SwapNow
from iwae_lab.engines.runner import Receive, run
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC
from iwae_lab.records.log import read_log

# The learning rate changes after 1, 3 and 7 of 20 steps, evaluations come every 7, then every 6 steps.
SPEC_20 = ExperimentSpec(
    runs=(RunSpec("vae", 1), RunSpec("iwae", 3)),
    batch_size=4,
    steps=20,
    eval_images=4,
    eval_k=20,
    schedule="burda",
    swaps=(
        Swap(run=1, step=9, estimator="iwae", k=2),
        Swap(run=0, step=5, estimator="iwae", k=3),
        Swap(run=1, step=5, estimator="vae", k=2),
    ),
    seed=3,
)


def folder_for(path: Path, spec: ExperimentSpec) -> Path:
    path.mkdir()
    (path / SPEC).write_text(spec.to_json())
    return path


def events(folder: Path) -> list[str]:
    """Every event of a log, to the bit, with its number but without the time it took."""
    found = []
    for record in read_log(folder / LOG):
        event = replace(record.event, cost=()) if isinstance(record.event, Progress) else record.event
        found.append(encode(replace(record, seconds=0.0, event=event)))
    return found


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def same_run(first: Path, second: Path) -> bool:
    states = [checkpoint.load(folder / CHECKPOINT) for folder in (first, second)]
    for state in states:
        assert state.pop("seconds") > 0
    assert len(states[0]["runs"][0]["optimiser"]["state"]) > 5, "Adam's moments are compared too"
    return events(first) == events(second) and same(*states)


def after(steps: int, *commands: Order) -> Receive:
    """Gives the commands, one after the other, when so many steps have been made since it was first asked."""
    waiting, made = deque(commands), 0

    def receive(wait: float) -> Order | None:
        nonlocal made
        if made == steps and waiting:
            return waiting.popleft()
        made += 1  # no command: now a step is made
        return None

    return receive


def train_and_die(folder: Path, receive: Receive, steps: int) -> None:
    """Make so many steps and end without a word, in the middle of a line."""
    session = run(folder, receive)
    for record in session:
        if record and isinstance(record.event, Progress) and record.event.step == steps:
            break
    session.close()
    with (folder / LOG).open("a") as file:
        file.write('{"number": ')


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = folder_for(tmp_path_factory.mktemp("whole") / "run", SPEC_20)
    deque(run(folder), maxlen=0)
    return folder


def kinds(folder: Path, kind: type[Event]) -> list[Any]:
    return [record.event for record in read_log(folder / LOG) if isinstance(record.event, kind)]


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
    monkeypatch.setattr(runner.Clock, "seconds", lambda clock: 7.0 * len(kinds(folder, Progress)))
    monkeypatch.setattr(checkpoint, "save", lambda path, state: times.append(state["seconds"]))
    deque(run(folder), maxlen=0)
    # Every step takes 7 seconds. The first is saved early, 9 further steps make a minute, the end is always saved.
    assert times == [7.0, 70.0, 133.0, 140.0]


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


# Ends before the last step.


def test_time_is_up_after_so_many_seconds_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_for(tmp_path / "run", replace(SPEC_20, seconds=50.0))
    monkeypatch.setattr(runner.Clock, "seconds", lambda clock: 7.0 * len(kinds(folder, Progress)))
    deque(run(folder), maxlen=0)
    # Every step takes 7 seconds; the eighth is the first to end after 50, and is evaluated.
    assert kinds(folder, Finished) == [Finished(8, reason="50 seconds of training are over")]
    assert kinds(folder, Snapshot)[-1].step == 8
    assert checkpoint.load(folder / CHECKPOINT)["step"] == 8


@pytest.mark.parametrize("stopped_at", [3, 8])
def test_time_goes_on_where_it_stood(stopped_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_for(tmp_path / "run", replace(SPEC_20, seconds=50.0))
    monkeypatch.setattr(runner.Clock, "seconds", lambda clock: 7.0 * len(kinds(folder, Progress)))
    train_and_die(folder, after(stopped_at, Checkpoint()), stopped_at + 1 if stopped_at < 8 else 8)
    deque(run(folder), maxlen=0)
    assert kinds(folder, Finished) == [Finished(8, reason="50 seconds of training are over")]
    assert [event.step for event in kinds(folder, Progress)] == list(range(1, 9))


def evaluation(*means: float) -> NDArray[np.float32]:
    """Bounds of one evaluation, `[runs, images]`: each run's mean, and the same differences between images."""
    return np.array([[mean - 10.0, mean, mean + 10.0] for mean in means], np.float32)


def test_patience_counts_evaluations_without_any_improvement() -> None:
    patience, counts = Patience(), []
    for means in (0, 0), (1, 0), (1, -1), (0.5, 0), (1.5, 0), (1, 0.1), (1.4, 0.1), (1.4, 0.1):
        patience.look(evaluation(*means))
        counts.append(patience.count)
    assert counts == [0, 0, 1, 2, 0, 0, 1, 2]


def test_patience_takes_an_improvement_within_its_paired_error_for_none() -> None:
    # Differences from the best of 3 ± 3: mean 1, standard error sqrt(8 / 2 / 3) = 1.15; of 3, 3, 3: error 0.
    patience = Patience()
    patience.look(np.zeros((1, 3), np.float32))
    patience.look(np.array([[3, -1, 1]], np.float32))
    assert patience.count == 1
    patience.look(np.array([[3, 0.5, 1]], np.float32))  # mean 1.5, standard error 0.76
    assert patience.count == 0
    patience.renew()
    again = Patience()
    again.load_state_dict(patience.state_dict())
    again.look(np.array([[3, 0.5, 1]], np.float32))
    assert again.count == 1


IMPATIENT = replace(SPEC_20, swaps=(), learning_rate=0.1, patience=4)


def test_patience_ends_a_run_that_does_not_learn(tmp_path: Path) -> None:
    folder = folder_for(tmp_path / "run", replace(IMPATIENT, steps=1000, eval_k=2))
    train_and_die(folder, after(2, Checkpoint()), 3)
    deque(run(folder), maxlen=0)
    assert main(["train", "--resume", str(folder)]) == 2, "it has ended"
    (end,) = kinds(folder, Finished)
    assert end.reason == "no bound improved in 4 evaluations"
    assert end.step == kinds(folder, Snapshot)[-1].step < 1000
    whole = folder_for(tmp_path / "whole", replace(IMPATIENT, steps=1000, eval_k=2))
    deque(run(whole), maxlen=0)
    assert same_run(folder, whole)
    swaps = (Swap(run=0, step=100, estimator="iwae", k=2),)
    later = folder_for(tmp_path / "later", replace(IMPATIENT, steps=120, eval_k=2, swaps=swaps))
    deque(run(later), maxlen=0)
    assert kinds(later, Finished)[0].step > 100, "not before its last planned swap"


# Slow motion.


def test_slow_motion_makes_a_step_now_and_then_with_a_closeup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, waits = folder_for(tmp_path / "run", SPEC_20), []
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    commands = {2: [Slow()], 5: [Resume()], 7: [Step()], 8: [Resume()]}

    def receive(wait: float) -> Order | None:
        nonlocal now
        made = len(kinds(folder, Progress))
        if commands.get(made) and (wait == 0 or made > 5 or wait < 3):
            return commands[made].pop(0)
        waits.append(wait)
        now += min(wait, 4.0)
        return None

    deque(run(folder, receive), maxlen=0)
    assert [event.step for event in kinds(folder, Closeup)] == [3, 4, 5, 8]
    assert [wait for wait in waits if wait] == [6.0, 2.0, 6.0, 2.0, 6.0]
    told = [type(record.event) for record in read_log(folder / LOG) if getattr(record.event, "step", 0) == 8]
    assert told == [Progress, Closeup]
    seconds = {record.seconds for record in read_log(folder / LOG)}
    assert seconds == {0.0}, "waiting is not training"
