"""The benchmarks of certainty: what they measure, on experiments that take a second."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import certainty, proof
from benchmarks.process import BenchError
from benchmarks.proof import Null, Proof
from benchmarks.stored import Stored
from iwae_core.training.events import Progress, Snapshot
from iwae_core.training.loop import train
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_core.training.starts import RANDOM
from iwae_lab.history.history import History
from iwae_lab.lessons.certainty import VAE, Found

SMALL = ExperimentSpec(batch_size=2, steps=4, eval_images=2, eval_k=2)
# Both from random weights: the IWAE falls behind at once.
YOUNG = ExperimentSpec((RunSpec("iwae", 20), RunSpec("vae", 20)), "mnist", 20, 3e-3, steps=8, eval_images=50, eval_k=1)


def test_a_run_is_measured_as_it_trains_beside_the_vae(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[RunSpec, History] = {}

    def found(history: History) -> Found:
        assert history.spec
        seen[history.spec.runs[1]] = history
        return Found(False, history.step, 0.0)

    monkeypatch.setattr(certainty, "found", found)
    # 200 samples are 20 steps of two images with k = 5, and two steps with k = 50.
    runs = {RunSpec("iwae", 5): 20, RunSpec("dreg", 50): 2}
    measured = list(certainty.measure(SMALL, list(runs), 2, 200))
    assert measured == [(run, Found(False, steps, 0.0)) for run, steps in runs.items()]
    for run, steps in runs.items():
        history = seen[run]
        pair = certainty.Watched((VAE, run), batch_size=2, steps=steps, eval_images=2, eval_k=2, every=2)
        events = list(train(pair))
        expected = [event for event in events if isinstance(event, Snapshot)]
        assert [snapshot.step for snapshot in history.snapshots] == list(range(0, steps + 1, 2))
        for ours, theirs in zip(history.snapshots, expected, strict=True):
            np.testing.assert_array_equal(ours.iwae, theirs.iwae)
            np.testing.assert_array_equal(ours.elbo, theirs.elbo)
        made = [event for event in events if isinstance(event, Progress)]
        np.testing.assert_array_equal(history.training.iwae, [event.iwae for event in made])
        assert (history.training.costs > 0).all()


def test_a_run_is_left_once_it_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certainty, "found", lambda history: Found(history.step >= 2, 1, 0.5))
    (measured,) = certainty.measure(SMALL, [RunSpec("iwae", 5)], 1, 1000)
    assert measured == (RunSpec("iwae", 5), Found(True, 1, 0.5))


def test_what_was_found_before_an_interruption_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(certainty, "STORED", tmp_path / "certainty.json")
    monkeypatch.setattr(certainty, "RUNS", (RunSpec("iwae", 50), RunSpec("iwae", 5)))
    asked: list[Any] = []

    def measure(spec: ExperimentSpec, runs: list[RunSpec], every: int, samples: int) -> Any:
        asked.append((spec.seed, [run.k for run in runs], every, samples))
        yield runs[0], Found(True, 20, 1.23456)
        if len(asked) == 1:
            raise KeyboardInterrupt
        yield from ((run, Found(False, 200, 9.0)) for run in runs[1:])

    monkeypatch.setattr(certainty, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["certainty", "--seeds", "1", "--samples", "7", "--write"])
    with pytest.raises(KeyboardInterrupt):
        certainty.main()
    certainty.main()
    assert asked == [(0, [5, 50], 10, 7), (0, [50], 10, 7)]
    assert capsys.readouterr().err.splitlines() == ["iwae 5 0 True 20 1.235", "iwae 50 0 True 20 1.235"]
    text = (tmp_path / "certainty.json").read_text()
    assert '[\n["iwae", 5, 0, true, 20, 1.235],\n["iwae", 50, 0, true, 20, 1.235]]' in text


def test_what_was_measured_otherwise_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    Stored(path, steps=1).add((7, None))
    assert Stored(path, steps=1).found == [[7, None]]
    assert Stored(path, steps=2).found == []
    assert Stored(None, steps=1).found == []


def test_the_time_to_proof_is_that_of_the_log() -> None:
    found = proof.proof(replace(YOUNG, start=RANDOM))
    assert found.step is not None
    assert found.training is not None
    assert found.clock is not None
    assert 1 <= found.step <= 8
    assert 0 < found.training < found.clock, "on the clock the process has to start first"
    assert found.lead - 2 * found.stderr > 0
    behind = proof.proof(replace(YOUNG, runs=YOUNG.runs[::-1]))
    assert behind[1:4] == (None, None, None)
    assert behind.lead == -found.lead


def test_a_training_that_fails_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof.sys, "executable", "false")
    with pytest.raises(BenchError, match="exit code 1 for seed 0"):
        proof.proof(SMALL)


def test_vae_against_vae_differs_by_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(SMALL, runs=(VAE, RunSpec("iwae")), seed=3)
    other = proof.null(spec)
    assert other[:2] == (3, None)
    assert other.lead != 0
    monkeypatch.setattr(proof, "OTHER", 0)
    assert proof.null(spec) == Null(3, None, 0.0, 0.0)


def test_the_tables() -> None:
    text = proof.proofs(
        [
            Proof(0, 100, 4.0, 6.5, 0.3, 0.05),
            Proof(1, None, None, None, 0.1, 0.05),
            Proof(2, 300, 12.0, 14.0, 0.2, 0.05),
        ]
    )
    assert text.splitlines()[2:] == [
        "| 0 | 100 | 4 | 6.5 | +0.30 |",
        "| 1 | never | never | never | +0.10 |",
        "| 2 | 300 | 12 | 14 | +0.20 |",
        "| median | 300 | 12 | 14 |  |",
    ]
    found = [Null(0, None, 0.02, 0.01), Null(1, 200, -0.21, 0.02)]
    assert proof.nulls(found) == (
        "A lead was called certain in 1 of 2 experiments of VAE against VAE: seeds 1 (step 200). "
        "The widest difference in the end was −0.21 ± 0.04 nats."
    )
