"""The price of certainty: numbers from a history made up by hand, and those that are shipped."""

import json
from pathlib import Path

import numpy as np
import pytest

from iwae_core.training.events import Event, Progress, Record, Snapshot, Started
from iwae_core.training.spec import RunSpec
from iwae_lab.history.history import History
from iwae_lab.lessons.certainty import RUNS, Amount, Found, Row, experiment, found, key, measured, median
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.proof import PROOF

EVERY, IMAGES = 20, 100
SURE, UNSURE, BEHIND = 0.5, 0.15, -0.5  # a lead in nats; its standard error is 0.3 / sqrt(99) = 0.03


def history(*leads: float) -> History:
    """Evaluated before training, when both are the same, and every 20 steps; step s costs the runs 9 s and s/100."""
    wave = 0.3 * np.resize([-1.0, 1.0], IMAGES)
    digits, floats = np.zeros((2, 1, 4), np.uint8), np.float32
    events: list[Event] = [Started(experiment(RunSpec("iwae")).to_json(), digits[0])]
    for look, lead in enumerate((None, *leads)):
        steps = range(max(0, EVERY * (look - 1)) + 1, EVERY * look + 1)
        events += [Progress(s, (0, 0), (0, 0), (9, s / 100)) for s in steps]
        ahead = np.zeros(IMAGES) if lead is None else lead + wave
        iwae = np.stack([np.zeros((3, IMAGES)), np.tile(ahead, (3, 1))]).astype(floats)
        events.append(Snapshot(EVERY * look, iwae, iwae[:, 0], digits, digits))
    return History(Record(number, 0.0, event) for number, event in enumerate(events))


@pytest.mark.parametrize(
    ("leads", "expected"),
    [
        # Steps 1 to 40 cost (1 + ... + 40) / 100 = 40 * 41 / 200 seconds.
        ((UNSURE, SURE, SURE, SURE), Found(True, 40, 8.2)),
        ((SURE, SURE, SURE), Found(True, 20, 2.1)),
        # Two looks in a row are too few, and one that is not certain breaks the row.
        ((UNSURE, UNSURE, SURE, SURE), Found(False, 80, 32.4)),
        ((SURE, SURE, UNSURE, SURE), Found(False, 80, 32.4)),
        # Certainly behind is no lead, and neither is a difference of less than a tenth of a nat.
        ((BEHIND, BEHIND, BEHIND), Found(False, 60, 18.3)),
        ((0.09, 0.09, 0.09), Found(False, 60, 18.3)),
    ],
)
def test_since_when_the_lead_is_certain_and_what_it_cost(leads: tuple[float, ...], expected: Found) -> None:
    seen = found(history(*leads))
    assert seen[:2] == expected[:2]
    assert seen.seconds == pytest.approx(expected.seconds)


def test_the_row_of_a_run() -> None:
    row = Row(RunSpec("iwae", 5), (Found(True, 60, 3.0), Found(False, 200, 2.5), Found(True, 20, 1.0)))
    assert row.steps() == [Amount(True, 20), Amount(True, 60), Amount(False, 200)]
    assert row.samples() == [Amount(True, 2_000), Amount(True, 6_000), Amount(False, 20_000)]  # 20 images, k = 5
    assert row.seconds() == [Amount(True, 1.0), Amount(True, 3.0), Amount(False, 2.5)]
    assert median(row.steps()) == Amount(True, 60)
    assert median(row.steps()[1:]) == Amount(False, 200)


def test_the_rows_are_experiments_of_the_laboratory() -> None:
    assert experiment(RunSpec("iwae", backward="all")) == PROOF
    assert len({experiment(run) for run in RUNS}) == len(RUNS) == 7


def test_nothing_is_shown_of_another_model_or_of_some_runs_only(tmp_path: Path) -> None:
    path = tmp_path / "certainty.json"
    how = {"model": "vae_k1", "sha256": manifest()["vae_k1"]["sha256"], "every": 20, "processor": "p", "date": "d"}
    rows = [[*key(run), 0, True, 20, 1.5] for run in RUNS]

    def stored(**values: object) -> object:
        path.write_text(json.dumps(how | {"found": rows} | values))
        return measured.__wrapped__(path)

    assert measured.__wrapped__(path) is None
    assert stored(sha256="0") is None
    assert stored(found=rows[1:]) is None
    assert stored() == (tuple(Row(run, (Found(True, 20, 1.5),)) for run in RUNS), 20, "vae_k1", "p", "d")


def test_what_is_stored_says_what_the_lesson_says() -> None:
    stored = measured()
    assert stored, "the model has changed: run python -m benchmarks.certainty --write"
    rows = {(row.run.estimator, row.run.k): row for row in stored.rows}
    assert min(len(row.found) for row in stored.rows) >= 5
    assert not any(each.certain for each in rows["vae", 500].found)
    assert all(median(row.steps()).certain for run, row in rows.items() if run != ("vae", 500))
    few, fifty, many, one = (rows[run] for run in (("iwae", 5), ("iwae", 50), ("iwae", 500), ("iwae_one_sample", 50)))
    steps, seconds = (
        [median(getattr(row, name)()).value for row in (few, fifty, many)] for name in ("steps", "seconds")
    )
    assert seconds == sorted(seconds), "more samples cost more"
    assert steps == sorted(steps, reverse=True), "than they save steps"
    assert median(one.steps()).value > steps[1], "one sample kept is noisier"
    assert median(one.seconds()).value / median(one.steps()).value < seconds[1] / steps[1], "and its steps are cheaper"
