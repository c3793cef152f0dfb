"""The report: what it holds, says and escapes."""

import base64
import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iwae_core.training.events import Event, Failed, Finished, Progress, Record, Snapshot, Started, encode
from iwae_core.training.spec import RunSpec
from iwae_lab.__main__ import main
from iwae_lab.arguments import command
from iwae_lab.figures import NO_EVALUATION, plotly_js
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import read_log
from iwae_lab.take_home.recipe import performed, snippet
from iwae_lab.take_home.report import FRAMES, report
from iwae_lab.take_home.table import csv_text
from iwae_lab.words import sentences as words
from iwae_lab.words.markup import heading, inline
from iwae_lab.words.templates import macros
from tests.support.told import QUICK, SWAPPING, small, snapshot, told

ROOT = Path(__file__).parents[2]

TABLE = macros("iwae_lab/words/macros.html.jinja").table


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
    assert TABLE(map(heading, head), body) in text
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
