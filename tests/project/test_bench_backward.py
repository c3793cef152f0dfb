"""The benchmark of backward passes: learning curves of two settings, and the time to the same test NLL."""

import sys
from pathlib import Path

import pytest

from benchmarks import backward
from benchmarks.backward import Curves, curves, faster, reached, table
from iwae_core.training.events import Snapshot
from iwae_core.training.loop import train
from iwae_core.training.spec import ExperimentSpec, RunSpec

RUNS = tuple(RunSpec("iwae", 5, backward=way) for way in ("all", "counting"))
SMALL = ExperimentSpec(RUNS, batch_size=4, steps=6, eval_images=3, eval_k=5, seed=2)
MADE = Curves(0, [0, 10, 20], [[9.0, 5.0, 3.0], [9.0, 4.0, 3.5]], [[0.0, 4.0, 8.0], [0.0, 2.0, 4.0]])


def test_the_curves_are_those_of_the_training() -> None:
    found = curves(SMALL)
    snapshots = [event for event in train(SMALL) if isinstance(event, Snapshot)]
    assert (found.seed, found.steps) == (2, [event.step for event in snapshots])
    for run, nll in enumerate(found.nll):
        assert nll == pytest.approx([-event.iwae[run, -1].mean() for event in snapshots], abs=1e-3)
    assert found.nll[0][0] == found.nll[1][0], "both start from the same weights"
    assert found.nll[0][-1] != found.nll[1][-1]
    assert [of_run[0] for of_run in found.seconds] == [0, 0]


def test_the_time_to_the_same_nll_lies_between_two_evaluations() -> None:
    assert reached([9, 5, 3], [0, 4, 8], 5) == 4
    assert reached([9, 5, 3], [0, 4, 8], 3.5) == 7
    assert reached([9, 5, 7, 1], [0, 4, 8, 12], 6) == 3, "first reached, whatever came after"
    assert reached([3, 2], [1, 5], 4) == 1
    # 3.5 is what both have reached in the end: after 7 seconds, and after 4.
    assert faster(MADE) == 7 / 4


def test_what_was_found_is_kept_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def measured(spec: ExperimentSpec) -> Curves:
        asked.append(spec.seed)
        return MADE._replace(seed=spec.seed, nll=[MADE.nll[0], [9.0, 4.0, 3.5 + (spec.seed == 1)]])

    monkeypatch.setattr(backward, "FOUND", tmp_path / "backward.json")
    monkeypatch.setattr(backward, "curves", measured)
    for seeds, steps in ((2, 20), (3, 20), (2, 30)):
        monkeypatch.setattr(sys, "argv", ["backward", "--seeds", str(seeds), "--steps", str(steps), "--write"])
        backward.main()
    assert asked == [0, 1, 2, 0, 1], "the first two are known the second time, but not for other steps"
    told = capsys.readouterr().out
    # At step 20, of two seeds: 3.5 and 4.5 against 3, so 1 +- 2 * 0.5.
    assert "| 20 | 3.00 | +1.00 ± 1.00 |" in told
    assert table([MADE, MADE]).endswith("To the same test NLL all rows take 1.75 times as long (1.75 to 1.75).")
