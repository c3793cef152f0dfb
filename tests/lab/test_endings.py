"""Ends before the last step, and slow motion."""

from collections import deque
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.data import DATASETS, Dataset
from iwae_core.evaluation.held_out import bound_curves
from iwae_core.training.events import Closeup, Finished, Progress, Snapshot
from iwae_core.training.loop import Experiment
from iwae_core.training.patience import Patience
from iwae_core.training.run import Run
from iwae_core.training.spec import Swap
from iwae_lab.__main__ import main
from iwae_lab.engines import runner
from iwae_lab.engines.protocol import Checkpoint, Order, Resume, Slow, Step
from iwae_lab.engines.runner import run
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG
from iwae_lab.records.log import read_log
from tests.support.resuming import SPEC_20, after, folder_for, kinds, same_run, train_and_die

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


def test_patience_asks_training_images_kept_aside_while_test_images_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    data, trained_on, minibatch = DATASETS["mnist"](), set(), Dataset.minibatch

    def recording(images: Dataset, *address: int) -> Tensor:
        trained_on.add((images.train.data_ptr(), len(images.train)))
        return minibatch(images, *address)

    monkeypatch.setattr(Dataset, "minibatch", recording)
    experiment = Experiment(IMPATIENT)
    _, told, *_ = islice(experiment.train(), 4)
    assert isinstance(told, Snapshot)
    kept, test = (images.held_out(IMPATIENT.seed, 4) for images in (data.validating(4), data))
    asked = experiment.state_dict()["validation"]["best"]
    for of_run, best, bound in zip(IMPATIENT.runs, asked, told.iwae, strict=True):
        model = Run(of_run, IMPATIENT, data.validating(4).train_mean).model  # as it was before the first step
        of_kept, of_test = (bound_curves(model, x, (1, IMPATIENT.eval_k), IMPATIENT.seed).iwae[1] for x in (kept, test))
        assert best == of_kept.float().tolist() != bound[-1].tolist()
        assert bound[-1].tolist() == of_test.float().tolist()
    assert trained_on == {(data.train.data_ptr(), 59_996)}


def test_without_patience_every_training_image_is_trained_on() -> None:
    assert Experiment(replace(IMPATIENT, patience=None))._training is DATASETS["mnist"]()


def test_patience_of_an_older_checkpoint_starts_again() -> None:
    experiment = Experiment(IMPATIENT)
    deque(islice(experiment.train(), 30), maxlen=0)
    state = experiment.state_dict()
    assert state["validation"]["count"] > 0
    state["patience"] = state.pop("validation")
    older = Experiment(IMPATIENT)
    older.load_state_dict(state)
    assert older.state_dict()["validation"] == {"count": 0, "best": []}


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
