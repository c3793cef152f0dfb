"""What readers take home: numbers to the bit, code and commands that repeat them, a report that needs nothing."""

import base64
import csv
import io
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.training.events import Event, Failed, Finished, Progress, Record, Snapshot, Started, Swapped, encode
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.__main__ import main
from iwae_lab.arguments import command, requested
from iwae_lab.cli.options import parser
from iwae_lab.engines import open_engine
from iwae_lab.engines.protocol import SwapNow
from iwae_lab.figures import NO_EVALUATION, plotly_js
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import read_log
from iwae_lab.take_home.recipe import performed, snippet
from iwae_lab.take_home.report import FRAMES, report
from iwae_lab.take_home.table import Row, csv_text, rows
from iwae_lab.words import sentences as words
from iwae_lab.words.markup import inline
from iwae_lab.words.markup import math as mathml
from iwae_lab.words.templates import macros
from tools.browser import record_requests

TABLE = macros("iwae_lab/words/macros.html.jinja").table
ROOT = Path(__file__).parents[2]
QUICK = ExperimentSpec((RunSpec("vae", 2), RunSpec("iwae", 2)), batch_size=3, steps=4, eval_images=3, eval_k=5)
SWAPPING = replace(
    QUICK,
    runs=(RunSpec("ciwae", 4, beta=0.25), RunSpec("miwae", 4, "one_layer_2d", repeats=2)),
    schedule="burda",
    learning_rate=0.01,
    seed=7,
    swaps=(Swap(run=1, step=3, estimator="dreg", k=5), Swap(run=0, step=1, estimator="iwae", k=3)),
)
NO_OPTIONS = replace(QUICK, runs=(RunSpec("renyi", 2, alpha=0.5), RunSpec("renyi", 2, alpha=-1e-05)))


def told(spec: ExperimentSpec, *events: Event) -> History:
    """A history of these events, one each half a second."""
    first = Started(spec.to_json(), np.zeros((10, 784), np.uint8))
    return History(Record(number, number / 2, event) for number, event in enumerate([first, *events]))


def snapshot(spec: ExperimentSpec, step: int) -> Snapshot:
    """Numbers with all their digits in use."""
    rng = np.random.default_rng(step)
    shape = len(spec.runs), len(spec.eval_ks), spec.eval_images
    iwae, elbo = (rng.normal(-90, 20, size).astype(np.float32) for size in (shape, shape[::2]))
    digits = rng.integers(0, 256, (len(spec.runs), 10, 784), np.uint8)
    return Snapshot(step, iwae, elbo, digits, digits)


def small(spec: ExperimentSpec = QUICK, *ending: Event) -> History:
    """Evaluated before and after four steps; run 0 is swapped after two of them, on command."""
    steps = [Progress(i, (-100 - 1 / i, -90 / 7), (-90 - 1 / i, -8.1)) for i in range(1, 5)]
    swapped = Swapped(2, 0, "dreg", 3)
    return told(spec, snapshot(spec, 0), *steps[:2], swapped, *steps[2:], snapshot(spec, 4), *ending)


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


LOG_P = np.array([-90.5, -88.25, -87.0], np.float32)
LOG_WEIGHTS = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3) / 3 - 90  # runs, samples, shown digits


def telling(step: int) -> Snapshot:
    """An evaluation that tells everything; log p(x) of run 0 is not known, nor the spread of L_k at the largest k."""
    points = len(QUICK.eval_ks)
    spread = np.arange(2 * 2 * points, dtype=np.float32).reshape(2, 2, points) / 7 + step
    spread[:, 1, -1] = np.nan
    return replace(
        snapshot(QUICK, step),
        spread=spread,
        log_weights=LOG_WEIGHTS + step,
        active=np.array([3, 7 + step], np.int32),
        units=np.array([50, 60], np.int32),
        log_p=np.stack([np.full(3, np.nan, np.float32), LOG_P + step]),
    )


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
    assert lines[0] == ",".join(Row._fields)
    assert lines[-1] == ""
    assert "\n" not in text.replace("\r\n", "")
    number = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert all(not cell or number.fullmatch(cell) or re.fullmatch(r"[A-Za-z]\w*", cell) for cell in cells)
    assert all(re.fullmatch(r"[A-Za-z]\w*", name) for name in (*ESTIMATORS, *MODELS)), "these are all the text in it"
    with pytest.raises(SpecError, match="unknown estimator '=1"):
        csv_text(told(QUICK, Swapped(0, 0, "=1+1", 2)))


def test_only_whoever_asks_for_fewer_steps_gets_fewer() -> None:
    history = told(QUICK, *(Progress(i, (-1.0, -2.0), (-3.0, -4.0)) for i in range(1, 11)))
    assert [row.step for row in rows(history) if row.run == 0][::2] == [*range(1, 11)]
    assert [row.step for row in rows(history, 3) if row.run == 0][::2] == [3, 6, 9, 10]
    with pytest.raises(ValueError, match="every must be at least 1; got 0; use 1"):
        csv_text(history, 0)


def test_experiments_that_have_not_got_far() -> None:
    assert csv_text(told(QUICK)) == ",".join(Row._fields) + "\r\n"
    for take_home in csv_text, report, performed:
        with pytest.raises(ValueError, match="got a history without its beginning"):
            take_home(History())
    failed = told(QUICK, snapshot(QUICK, 0), Progress(1, (float("nan"), -1.0), (float("-inf"), -1.0)))
    assert [row["value"] for row in picked(read(csv_text(failed)), step="1", run="0")] == ["nan", "-inf"]


def test_swaps_on_command_are_part_of_what_is_repeated() -> None:
    planned = Swap(run=1, step=3, estimator="vae", k=2)
    spec = performed(small(replace(QUICK, swaps=(planned,))))
    assert spec.swaps == (Swap(run=0, step=2, estimator="dreg", k=3), planned)
    made = told(spec, Swapped(2, 0, "dreg", 3), Swapped(3, 1, "vae", 2))
    assert performed(made) == spec


def test_commands_and_code_name_only_what_is_not_a_default() -> None:
    assert command(ExperimentSpec()) == "iwae train --estimator vae,iwae --k 50 --out runs/again"
    assert command(SWAPPING) == (
        "iwae train --estimator ciwae,miwae --k 4 --model one_layer,one_layer_2d --beta 0.25 --repeats 2"
        " --batch-size 3 --learning-rate 0.01 --steps 4 --seed 7 --eval-images 3 --eval-k 5 --schedule burda"
        " --swap 1:3:dreg:5 --swap 0:1:iwae:3 --out runs/again"
    )
    refused = replace(QUICK, runs=(RunSpec("miwae", 4, repeats=4), RunSpec("piwae", 3)))  # 3 samples in 4 repeats
    for spec in NO_OPTIONS, refused:
        assert command(spec).startswith("iwae train --spec /dev/stdin --out runs/again <<'END'\n{")
    assert (
        'spec = ExperimentSpec(\n    runs=(\n        RunSpec("vae", 50),\n        RunSpec("iwae", 50),\n    ),\n)\n'
    ) in snippet(ExperimentSpec())
    assert '        RunSpec("miwae", 4, model="one_layer_2d", repeats=2),\n' in snippet(SWAPPING)
    assert '    schedule="burda",\n' in snippet(SWAPPING)


def made_by_the_engine(spec: ExperimentSpec, folder: Path, swap: Swap | None = None) -> History:
    engine = open_engine("inline", folder)
    experiment = engine.submit(spec)
    while (history := engine.history(experiment)).outcome is None:
        if swap and history.step == swap.step:
            engine.send(experiment, SwapNow(swap.run, swap.estimator, swap.k))
            swap = None  # it is obeyed a look later
    return history


def same_to_the_bit(last: Snapshot, history: History) -> None:
    expected = history.snapshots[-1]
    assert last.step == expected.step
    for name in "iwae", "elbo", "samples", "reconstructions":
        np.testing.assert_array_equal(getattr(last, name), getattr(expected, name))


def shell(line: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", line], cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, check=True)


@pytest.mark.parametrize("spec", [QUICK, SWAPPING, NO_OPTIONS], ids=["quick", "swapping", "no options"])
def test_command_and_code_repeat_the_experiment_to_the_bit(
    spec: ExperimentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = made_by_the_engine(spec, tmp_path / "engine")
    repeats(history, tmp_path, monkeypatch, capsys)


def test_a_swap_on_command_is_repeated_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = made_by_the_engine(QUICK, tmp_path / "engine", Swap(run=0, step=2, estimator="iwae", k=4))
    assert [swap.step for swap in history.swaps] == [2]
    repeats(history, tmp_path, monkeypatch, capsys)


def repeats(
    history: History, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = performed(history)
    names: dict[str, Any] = {}
    exec(compile(snippet(spec), "snippet", "exec"), names)
    same_to_the_bit(names["last"], history)
    iwae = history.snapshots[-1].iwae.mean(-1, dtype=float)
    lines = capsys.readouterr().out.splitlines()
    for run, line, mean in zip(spec.runs, lines, iwae[:, -1], strict=True):
        assert line.startswith(f"{run.label}: L_5 {mean:.2f} ± ")

    monkeypatch.chdir(folder)
    if "\n" in command(spec):
        shell(command(spec), folder)
    else:
        assert main(shlex.split(command(spec))[1:]) == 0
    again = History(read_log(folder / "runs" / "again" / LOG))
    same_to_the_bit(again.snapshots[-1], history)
    for name in "steps", "elbo", "iwae":
        np.testing.assert_array_equal(getattr(again.training, name), getattr(history.training, name))


a_k = st.integers(1, 99)
any_run = st.one_of(
    st.tuples(st.sampled_from(["vae", "iwae", "dreg"]), a_k, st.just({"model": "two_layer"})),
    st.tuples(st.just("renyi"), a_k, st.fixed_dictionaries({"alpha": st.floats(-20, 20, allow_subnormal=False)})),
    st.tuples(st.sampled_from(["miwae", "piwae"]), st.just(6), st.sampled_from([{}, {"repeats": 2}, {"repeats": 3}])),
)
any_numbers = st.fixed_dictionaries(
    {"steps": st.integers(5, 20_000_000)},
    optional={"learning_rate": st.floats(1e-6, 0.1), "seed": st.integers(0, 2**31 - 1)},
)


@settings(max_examples=50)
@given(st.lists(any_run, min_size=1, max_size=4), any_numbers, st.sampled_from(["constant", "burda"]), st.booleans())
def test_every_specification_comes_back(
    runs: list[tuple[str, int, dict[str, Any]]], numbers: dict[str, Any], schedule: str, swapped: bool
) -> None:
    swaps = (Swap(run=0, step=4, estimator="vae", k=1),) if swapped else ()
    taken = tuple(RunSpec(name, k, **more) for name, k, more in runs)
    spec = ExperimentSpec(taken, schedule=schedule, swaps=swaps, **numbers)
    assert ExperimentSpec.from_json(spec.to_json(indent=2)) == spec
    names: dict[str, Any] = {}
    exec(snippet(spec).partition("prepare_process()")[0], names)
    assert names["spec"] == spec
    line, _, document = command(spec).partition(" <<'END'\n")
    options = parser().parse_args(shlex.split(line)[1:])
    described = ExperimentSpec.from_json(document.removesuffix("END")) if document else requested(options)
    assert described == spec


def test_train_takes_a_specification_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wanted.json"
    file.write_text(QUICK.to_json(indent=2))
    assert main(["train", "--spec", str(file), "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert ExperimentSpec.from_json((tmp_path / "run" / "spec.json").read_text()) == QUICK

    def refused(*arguments: str) -> str:
        assert main(["train", *arguments, "--out", str(tmp_path / "other")]) in (1, 2)
        assert not (tmp_path / "other").exists()
        error = capsys.readouterr().err
        assert error.startswith("iwae: ")
        assert error.count("\n") == 1
        return error

    assert "give no other settings" in refused("--spec", str(file), "--steps", "9")
    assert "No such file" in refused("--spec", str(tmp_path / "missing.json"))
    file.write_bytes(b"\xff\xfe\x00")
    assert "not an experiment specification" in refused("--spec", str(file))
    file.write_text('{"runs": [{"estimator": "vea"}]}')
    assert "unknown estimator 'vea'" in refused("--spec", str(file))


class Document(HTMLParser):
    """The elements of an HTML text: their attributes, whether they nest, and what is in scripts and texts."""

    VOID = ("meta", "img", "input", "br", "hr", "link", "base")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._open[-1:] != ["style"]:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_report_holds_everything_and_loads_nothing() -> None:
    history = small(SWAPPING, Finished(4))
    text = report(history)
    page = Document(text)
    assert page.named("html")[0]["lang"] == "en"
    assert all(str(image["src"]).startswith("data:image/png;base64,") and image["alt"] for image in page.named("img"))
    assert len(page.named("img")) == 1 + 2 * 2
    loading = {"src", "href", "action", "data", "poster", "srcset", "background", "xlink:href"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert tag == "img" or not loading & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text.partition("</style>")[0]
    assert "url(" not in text.partition("</style>")[0]
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv")]
    assert policy == "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert text.count(plotly_js.source()) == 1
    spec = performed(history)
    for content in snippet(spec), command(spec), spec.to_json(indent=2), words.describe(spec):
        assert content in page.text
    assert "It is complete: 4 of 4 steps" in page.text
    assert "After 2 steps, run 0 goes on with DReG, k = 3." in page.text
    assert "beta = 0.25" in page.text
    assert len(text) < 3_000_000


def test_charts_of_the_report_show_each_evaluation() -> None:
    history = small()
    page = Document(report(history))
    bounds, curves = frames(page), frames(page, "training step")
    assert [frame["step"] for frame in bounds] == ["after step 0", "after step 4"]
    for frame, taken in zip(bounds, history.snapshots, strict=True):
        line = next(trace for trace in frame["data"] if trace.get("name") == "IWAE: L<sub>k</sub>")
        assert decoded(line["y"]) == pytest.approx(taken.iwae[1].mean(-1), rel=1e-6)
    assert len(curves) == 1
    many = told(QUICK, *(snapshot(QUICK, step) for step in range(100)))
    found = frames(Document(report(many)))
    assert len(found) == FRAMES
    assert (found[0]["step"], found[-1]["step"]) == ("after step 0", "after step 99")


def frames(page: Document, x: str = "k, samples per image (log scale)") -> list[dict[str, Any]]:
    """What the first chart with this x axis can show."""
    charts = [json.loads(script) for script in page.scripts if script.startswith("[")]
    return next(found for found in charts if found[0]["layout"]["xaxis"]["title"]["text"] == x)


def decoded(values: Any) -> list[float]:
    """Numbers as Plotly writes them."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)


def test_numbers_of_the_charts_are_in_tables_too() -> None:
    history = small()
    text = report(history)
    tables = [unescape(re.sub(r"<.*?>", "|", part)) for part in re.findall(r"<details>(.*?)</details>", text)]
    bounds, curves = tables[0], next(found for found in tables if "training step" in found)
    for place, k in enumerate(QUICK.eval_ks):
        means = [
            value for run in (0, 1) for value in (history.snapshots[1].iwae[run, place], history.snapshots[1].elbo[run])
        ]
        cells = "||".join(f"{float(values.mean(dtype=float)):.2f}" for values in means)
        assert f"|{k}||{cells}|" in bounds
    assert "|4||-90.25||-100.25||-8.10||-12.86|" in curves


def test_the_report_says_what_the_words_say() -> None:
    history = small()
    reading = read_at(history, View(QUICK.eval_ks[-1]))
    assert reading is not None
    text = report(history)
    head, *body = words.readout(reading)
    assert TABLE(map(inline, head), body) in text
    assert all(f"<p>{inline(finding)}</p>" in text for finding in words.findings(reading))
    assert "$" not in text.partition("<figure")[0].partition("<main>")[2]
    assert "**" not in text.partition("Repeat it")[0].partition("<main>")[2]


def test_the_report_speaks_one_dialect() -> None:
    text = Document(report(small(), words.Dialect.DEEP_LEARNING)).text
    assert "from the encoder" in text
    assert "same 5 samples" in text
    assert "draws" not in text


@pytest.mark.parametrize(
    ("events", "words_said"),
    [
        ((), "It was in training when this report was written: 0 of 4 steps"),
        ((Finished(0, stopped=True),), "It was stopped: 0 of 4 steps"),
        ((snapshot(QUICK, 0), Progress(1, (float("nan"), -1.0), (-1.0, -1.0))), "1 of 4 steps"),
        ((Failed(0, "<img src=x onerror=alert(1)>"),), "It failed at step 0: <img src=x onerror=alert(1)>."),
    ],
)
def test_reports_of_unfinished_experiments(events: tuple[Event, ...], words_said: str) -> None:
    page = Document(report(told(QUICK, *events)))
    assert words_said in page.text
    assert all("NaN" not in script for script in page.scripts if script.startswith("["))
    assert (NO_EVALUATION in page.text) == (not any(isinstance(event, Snapshot) for event in events))


def test_labels_are_escaped_wherever_they_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    label = "</script><script>alert(1)</script><b title='\"&$\\text{<script>alert(2)</script>}$"
    monkeypatch.setattr(RunSpec, "label", property(lambda run: label))
    page = Document(report(small()))
    assert len(page.scripts) == len(page.named("figure")) - 1 - 2 * 2 + 2, "one for each chart, plotly.js and ours"
    assert not page.named("b")
    assert f"{label}: sampled from the prior" in page.text
    assert any(trace.get("name") == f"{label}: ELBO" for trace in frames(page)[0]["data"])


def test_the_command_of_the_readme_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = re.findall(r"^iwae (report .*)$", (ROOT / "README.md").read_text(), re.M)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    history = small()
    first = Started(QUICK.to_json(), np.zeros((10, 784), np.uint8))
    events = [first, history.snapshots[0], *(Progress(i, (-2.0, -2.0), (-1.0, -1.0)) for i in range(1, 5))]
    (folder / LOG).write_text("".join(encode(Record(n, 0.1, event)) + "\n" for n, event in enumerate(events)))
    assert main(shlex.split(line)) == 0
    assert "report.html" in capsys.readouterr().out
    told_again = History(read_log(folder / LOG))
    assert (tmp_path / "report.html").read_text("utf-8") == report(told_again)
    assert (tmp_path / "numbers.csv").read_bytes().decode() == csv_text(told_again)
    assert main(["report", str(tmp_path), "--out", "other.html"]) == 2
    assert "holds no run that has begun; give a folder written by train" in capsys.readouterr().err


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"&(?!amp;|lt;|gt;|quot;)\w+;", lambda entity: unescape(entity[0]), html))


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("L_k", "<msub><mi>L</mi><mi>k</mi></msub>"),
        (r"\frac12 x", "<mfrac><mn>1</mn><mn>2</mn></mfrac><mi>x</mi>"),
        (r"L_{5000}", "<msub><mi>L</mi><mn>5000</mn></msub>"),
        (r"\tilde w_i", '<msub><mover accent="true"><mi>w</mi><mo stretchy="false">˜</mo></mover><mi>i</mi></msub>'),
        (r"\text{ a<b }", "<mtext> a&lt;b </mtext>"),
        (r"\mathbb{E}", "<mi>𝔼</mi>"),
    ],
)
def test_latex_becomes_mathml(latex: str, expected: str) -> None:
    assert mathml(latex) == f"<math>{expected}</math>".replace(" a&lt;b ", "\u00a0a&lt;b\u00a0")


def test_all_mathematics_of_the_program_is_known() -> None:
    prose = [value for value in vars(words).values() if isinstance(value, str)]
    formulas = [formula for text in prose for formula in re.findall(r"\$(.+?)\$", text)]
    formulas += [words.EQUATIONS, *(entry.equation for entry in ESTIMATORS.values())]
    assert len(formulas) > len(ESTIMATORS) + 2
    for formula in formulas:
        element = parsed(mathml(formula, display=False))
        assert element.tag == "math", formula
        assert "\\" not in "".join(element.itertext()), formula
        shown, names = "".join(element.itertext()), set(re.findall(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z{])", formula))
        assert names <= set(shown), formula


@pytest.mark.parametrize("latex", ["}", "x_", "{", r"\frac", "a}b", r"\left", r"\text{x", r"\unheard", "<b>&"])
def test_broken_latex_is_shown_as_it_is_written(latex: str) -> None:
    assert "".join(parsed(mathml(latex)).itertext()) == latex


def test_markdown_becomes_html() -> None:
    assert inline("a < b **bold** `x` & c") == "a &lt; b <strong>bold</strong> <code>x</code> &amp; c"
    assert inline("**The $k$**") == "<strong>The <math><mi>k</mi></math></strong>"


def test_cells_are_text_unless_they_are_html() -> None:
    table = TABLE([inline("a"), inline("$b$")], [["1", "<2"]])
    assert table.count("</t") == 9
    assert '<th scope="col"><math><mi>b</mi></math></th>' in table
    assert '<th scope="row">1</th><td>&lt;2</td>' in table


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(small()), encoding="utf-8")
    return path


@pytest.fixture
def open_offline(browser: Browser, file: Path) -> Iterator[Callable[..., Page]]:
    """Opens the report without any network; afterwards, nothing may have been asked for or gone wrong."""
    pages: list[Page] = []
    complaints: list[str] = []
    requests: list[list[str]] = []

    def open_offline(width: int = 1000, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
            offline=True,
        )
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        requests.append(record_requests(page))
        page.goto(file.as_uri())
        return page

    yield open_offline
    for page in pages:
        page.context.close()
    assert complaints == []
    assert requests == [[file.as_uri()]] * len(pages)


SHOWN = "document.querySelector('.plot')._fullData.filter(trace => trace.name).map(trace => Array.from(trace.y).at(-1))"


@pytest.mark.browser
def test_the_report_draws_its_charts_without_a_network(open_offline: Callable[..., Page]) -> None:
    page = open_offline()
    drawn = page.locator(".plot:has(.main-svg .scatterlayer .trace), .plot:has(.main-svg .annotation)")
    expect(drawn).to_have_count(page.locator(".plot").count())  # one says that this log does not tell the spread
    expect(page.locator(".plot").first.locator(".lines path.js-line")).to_have_count(4 + 4)  # lines and bands
    caption = page.locator("figcaption").first
    after = caption.inner_text()
    last = page.evaluate(SHOWN)
    expect(page.locator("output").first).to_have_text("after step 4")
    page.get_by_label("evaluation").first.press("Home")
    expect(page.locator("output").first).to_have_text("after step 0")
    assert caption.inner_text() != after
    assert page.evaluate(SHOWN) != last
    page.get_by_label("evaluation").first.press("End")
    assert caption.inner_text() == after
    assert page.evaluate(SHOWN) == last


@pytest.mark.browser
def test_the_report_is_dark_at_night_and_light_on_paper(open_offline: Callable[..., Page]) -> None:
    page = open_offline(scheme="dark")
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    ink = page.locator(".xtick text").first  # waited for like this: the page's policy forbids a polled script
    expect(ink).to_have_css("fill", "rgb(230, 232, 236)")
    page.emulate_media(media="print")
    expect(ink).to_have_css("fill", "rgb(29, 33, 41)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".plot").first.bounding_box()["width"] < 703, "A4 without its margins is that wide"  # type: ignore[index]
    page.emulate_media(media="screen", color_scheme="light")
    expect(ink).to_have_css("fill", "rgb(29, 33, 41)")


@pytest.mark.browser
def test_the_report_fits_a_phone(open_offline: Callable[..., Page]) -> None:
    page = open_offline(width=320)
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert page.evaluate("document.querySelector('.plot .main-svg').getBoundingClientRect().right") <= 320


@pytest.mark.browser
def test_the_browser_itself_would_refuse_to_load_anything(browser: Browser, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    refused = "fetch('http://127.0.0.1:1').then(() => 'loaded', error => 'refused')"
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert page.evaluate(refused) == "refused"
    page.close()
