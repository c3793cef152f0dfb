"""A long training is recorded in few records, and trainings made apart as the one experiment that they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from iwae_core.training.events import Progress, Record, Snapshot, encode
from iwae_core.training.loop import train
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import EventLog, read_log
from tools.record import joined, thinned

VAE, IWAE = RunSpec("vae", 2), RunSpec("iwae", 3)
PAIR = ExperimentSpec((VAE, IWAE), batch_size=2, steps=20, eval_images=2, eval_k=2)


def trained(spec: ExperimentSpec, folder: Path, seconds: float) -> Path:
    folder.mkdir()
    (folder / SPEC).write_text(spec.to_json())
    with EventLog(folder / LOG) as log:
        for number, event in enumerate(train(spec)):
            log.append(event, number * seconds)
    return folder


def told(record: Record) -> str:
    """All but what it took."""
    event = record.event
    return encode(replace(record, event=replace(event, cost=(), kept=()) if isinstance(event, Progress) else event))


def test_trainings_made_apart_are_one_experiment(tmp_path: Path) -> None:
    pair = trained(PAIR, tmp_path / "pair", 2)
    apart = [trained(replace(PAIR, runs=(run,)), tmp_path / run.estimator, run.k - 1) for run in PAIR.runs]
    records = joined(apart)
    assert [told(record) for record in records] == [told(record) for record in read_log(pair / LOG)]
    few = list(thinned(records, steps=3, evaluations=2))
    assert [record.number for record in few] == list(range(len(few)))
    assert [record.event.step for record in few if isinstance(record.event, Progress)] == [1, 11, 20]
    assert [record.event.step for record in few if isinstance(record.event, Snapshot)] == [0, 20]
    assert "Finished" in told(few[-1])
    other = trained(replace(PAIR, runs=(IWAE,), seed=1), tmp_path / "other", 1)
    with pytest.raises(ValueError, match=r"differs from .* in more than its runs"):
        joined([apart[0], other])
