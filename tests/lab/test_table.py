"""The table of numbers that readers take home: to the bit, and nothing in it is a formula."""

import csv
import io
import math
import re
import statistics

import pytest

from iwae_core.data import BINARISATIONS, DATASETS
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.training.events import Progress, Swapped
from iwae_core.training.fields import SpecError
from iwae_lab.history.history import History
from iwae_lab.take_home.recipe import performed
from iwae_lab.take_home.report import report
from iwae_lab.take_home.table import Row, csv_text, rows
from tests.support.told import LOG_WEIGHTS, QUICK, small, snapshot, telling, told

HEAD = ",".join([*Row._fields, "dataset", "binarisation"])


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def picked(table: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in table if all(row[name] == value for name, value in wanted.items())]


def test_the_table_holds_every_number_to_the_bit() -> None:
    history = small()
    table = read(csv_text(history))
    points, images, runs = len(QUICK.eval_ks), QUICK.eval_images, 2
    assert len(table) == 4 * runs * 2 + 2 * (runs + 1) * (1 + points) + runs * (1 + points) * images
    for run, elbo, iwae in ("0", -100 - 1 / 3, -90 - 1 / 3), ("1", -90 / 7, -8.1):
        for what, value in ("training_elbo", elbo), ("training_L_k", iwae):
            (row,) = picked(table, what=what, step="3", run=run)
            assert float(row["value"]) == value
    for step, taken in ("0", history.snapshots[0]), ("4", history.snapshots[1]):
        for run in range(runs):
            for place, k in enumerate(QUICK.eval_ks):
                values = [float(value) for value in taken.iwae[run, place]]
                (row,) = picked(table, what="L_k", step=step, run=str(run), k=str(k))
                assert float(row["value"]) == pytest.approx(statistics.fmean(values), rel=1e-14)
                stderr = statistics.stdev(values) / math.sqrt(images)
                assert float(row["standard_error"]) == pytest.approx(stderr, rel=1e-12)
    last = history.snapshots[1]
    for run in range(runs):
        for image in range(images):
            (row,) = picked(table, what="elbo_of_image", run=str(run), image=str(image))
            assert float(row["value"]) == last.elbo[run, image]
            found = [row["value"] for row in picked(table, what="L_k_of_image", run=str(run), image=str(image))]
            assert [float(value) for value in found] == last.iwae[run, :, image].tolist()


@pytest.fixture(scope="module")
def everything() -> list[dict[str, str]]:
    steps = [Progress(i, (-100.0, -90.0), (-90.0, -80.0), (i / 1000, i / 300)) for i in range(1, 5)]
    return read(csv_text(told(QUICK, telling(0), *steps, telling(4)), every=3))


def test_the_table_tells_the_noise_of_one_estimate(everything: list[dict[str, str]]) -> None:
    for taken in telling(0), telling(4):
        for run in (0, 1):
            for place, what in enumerate(["elbo_spread", "L_k_spread"]):
                found = picked(everything, what=what, step=str(taken.step), run=str(run))
                known = taken.spread[run, place, : len(QUICK.eval_ks) - place].tolist()
                assert [(row["k"], float(row["value"])) for row in found] == [
                    (str(k), value) for k, value in zip(QUICK.eval_ks, known, strict=False)
                ]


def test_the_table_tells_exact_log_p_only_where_it_is_known(everything: list[dict[str, str]]) -> None:
    assert not picked(everything, what="log_p", run="0")
    assert not picked(everything, what="log_p_of_image", run="0")
    # The mean of -90.5, -88.25, -87 is -88 - 7/12; the deviations from it are -23, 4 and 19 twelfths.
    stderr = math.sqrt((23**2 + 4**2 + 19**2) / 144 / 2) / math.sqrt(3)
    for row, step in zip(picked(everything, what="log_p"), (0, 4), strict=True):
        assert (row["step"], row["run"], row["k"]) == (str(step), "1", "")
        assert float(row["value"]) == pytest.approx(step - 88 - 7 / 12, rel=1e-14)
        assert float(row["standard_error"]) == pytest.approx(stderr, rel=1e-12)
    found = picked(everything, what="log_p_of_image")
    assert [(row["step"], row["image"], float(row["value"])) for row in found] == [
        ("4", "0", -86.5),
        ("4", "1", -84.25),
        ("4", "2", -83.0),
    ]


def test_the_table_counts_units_and_tells_each_log_weight(everything: list[dict[str, str]]) -> None:
    units = [
        (row["what"], row["step"], row["run"], float(row["value"])) for row in everything if "_units" in row["what"]
    ]
    before = [("active_units", "0", "0", 3), ("latent_units", "0", "0", 50)]
    before += [("active_units", "0", "1", 7), ("latent_units", "0", "1", 60)]
    after = [("active_units", "4", "0", 3), ("latent_units", "4", "0", 50)]
    assert units == [*before, *after, ("active_units", "4", "1", 11), ("latent_units", "4", "1", 60)]
    weights = picked(everything, what="log_weight")
    assert len(weights) == LOG_WEIGHTS.size
    for row in weights:
        assert row["step"] == "4", "those of the last evaluation only"
        place = int(row["run"]), int(row["sample"]), int(row["image"])
        assert float(row["value"]) == LOG_WEIGHTS[place] + 4
    assert len({(row["run"], row["sample"], row["image"]) for row in weights}) == LOG_WEIGHTS.size
    assert all(row["sample"] == "" for row in everything if row["what"] != "log_weight")


def test_the_table_tells_what_each_step_cost_each_run(everything: list[dict[str, str]]) -> None:
    found = picked(everything, what="training_processor_seconds")
    costs = [(row["step"], row["run"], row["k"], float(row["value"])) for row in found]
    assert costs == [("3", "0", "2", 0.003), ("3", "1", "2", 0.01), ("4", "0", "2", 0.004), ("4", "1", "2", 4 / 300)]


def test_leads_are_paired_differences_from_the_first_run() -> None:
    history = small()
    table = read(csv_text(history))
    differences = [float(b - a) for a, b in zip(*history.snapshots[1].elbo, strict=True)]
    (row,) = picked(table, what="elbo_lead", step="4")
    assert (row["run"], row["k"]) == ("1", "")
    assert float(row["value"]) == pytest.approx(statistics.fmean(differences), rel=1e-6)
    assert float(row["standard_error"]) == pytest.approx(statistics.stdev(differences) / math.sqrt(3), rel=1e-6)
    leads = picked(table, what="L_k_lead", step="4")
    first, second = history.snapshots[1].iwae
    assert [row["k"] for row in leads] == [str(k) for k in QUICK.eval_ks]
    assert [float(row["value"]) for row in leads] == pytest.approx((second - first).mean(1), rel=1e-6)


def test_rows_name_the_estimator_and_k_of_their_step() -> None:
    table = read(csv_text(small()))
    found = [(row["step"], row["estimator"], row["k"]) for row in picked(table, what="training_L_k", run="0")]
    assert found == [("1", "vae", "2"), ("2", "vae", "2"), ("3", "dreg", "3"), ("4", "dreg", "3")]
    assert {row["estimator"] for row in picked(table, run="1")} == {"iwae"}
    assert [row["estimator"] for row in picked(table, what="elbo", run="0")] == ["vae", "dreg"]
    # Records come every half second: the beginning, an evaluation, two steps, a swap, two steps.
    found = [row["seconds"] for row in picked(table, what="training_elbo", run="0")]
    assert found == ["1.0", "1.5", "2.5", "3.0"]
    assert [row["seconds"] for row in picked(table, what="elbo", run="0")] == ["0.0", "3.0"]
    # A swap comes after the evaluation of its step.
    (row,) = picked(read(csv_text(told(QUICK, snapshot(QUICK, 0), Swapped(0, 1, "dreg", 3)))), what="elbo", run="1")
    assert row["estimator"] == "iwae"


def test_the_text_is_rfc_4180_and_no_cell_is_a_formula() -> None:
    text = csv_text(small())
    lines = text.split("\r\n")
    assert lines[0] == HEAD
    assert all(line.endswith(",mnist,dynamic") for line in lines[1:-1])
    assert lines[-1] == ""
    assert "\n" not in text.replace("\r\n", "")
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert all(not cell or number.fullmatch(cell) or re.fullmatch(r"[A-Za-z]\w*", cell) for cell in cells)
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in (*ESTIMATORS, *MODELS, *DATASETS, *BINARISATIONS)), (
        "these are all the text in it"
    )
    with pytest.raises(SpecError, match="unknown estimator '=1"):
        csv_text(told(QUICK, Swapped(0, 0, "=1+1", 2)))


def test_only_whoever_asks_for_fewer_steps_gets_fewer() -> None:
    history = told(QUICK, *(Progress(i, (-1.0, -2.0), (-3.0, -4.0)) for i in range(1, 11)))
    assert [row.step for row in rows(history) if row.run == 0][::2] == [*range(1, 11)]
    assert [row.step for row in rows(history, 3) if row.run == 0][::2] == [3, 6, 9, 10]
    with pytest.raises(ValueError, match="every must be at least 1; got 0; use 1"):
        csv_text(history, 0)


def test_experiments_that_have_not_got_far() -> None:
    assert csv_text(told(QUICK)) == HEAD + "\r\n"
    for take_home in csv_text, report, performed:
        with pytest.raises(ValueError, match="got a history without its beginning"):
            take_home(History())
    failed = told(QUICK, snapshot(QUICK, 0), Progress(1, (float("nan"), -1.0), (float("-inf"), -1.0)))
    assert [row["value"] for row in picked(read(csv_text(failed)), step="1", run="0")] == ["nan", "-inf"]
