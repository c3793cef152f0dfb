"""What a browser may ask the live web socket for, and what it is told of runs that are not there."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import ui.live.parts  # noqa: F401  (registers what can be drawn)
from iwae_core.training.events import Closeup, Failed, Snapshot, Started
from iwae_core.training.spec import RunSpec
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import EventLog, read_log
from iwae_lab.shipped.recording import FOLDER, recording
from iwae_lab.words.glossary import Dialect
from ui import session
from ui.live.scene import PARTS, SHOWN, VIEWED, Look, draw, stamp, survey

DIGIT = np.zeros(784, np.uint8)
HOSTILE = "</p><script>alert(1)</script>$\\text{<script>alert(2)</script>}$<b title='\"&"


@pytest.fixture(scope="module", autouse=True)
def _an_engine_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IWAE_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        yield
    session.close_engine()


@pytest.mark.parametrize("part", sorted(set(PARTS) - {"sweep", "members"}))
def test_every_part_of_the_recording_is_drawn_once(part: str) -> None:
    look = Look(part)
    drawing = draw(look)
    assert json.loads(drawing)
    assert draw(look) is drawing
    assert stamp(look) == stamp(Look(part, k=7))


@pytest.mark.parametrize("part", sorted(SHOWN))
def test_what_a_part_does_not_show_changes_nothing(part: str, failed: str) -> None:
    whole = Look(part, failed, k=5, at=3, x="seconds", digit=2, words=list(Dialect)[1].value)
    others = {"k": 5000, "at": 7, "x": "samples", "digit": 3, "words": next(iter(Dialect)).value}
    shown = {name for name in VIEWED if PARTS[part](replace(whole, **{name: others[name]})) != PARTS[part](whole)}
    assert shown <= set(SHOWN[part])
    plain = survey([whole])[whole][0]
    assert PARTS[part](plain) == PARTS[part](whole)


def test_looks_that_show_the_same_are_drawn_as_one(failed: str) -> None:
    many = [Look("curves", failed, k=k, at=at, digit=at % 10) for k in range(100) for at in range(16)]
    assert len({plain for plain, _ in survey(many).values()}) == 1
    bounds = [
        Look("bounds", failed, k=k, at=at) for k in (*range(60), *range(60, 6000, 20)) for at in (-1, -2, 1000, 10**9)
    ]
    assert len({plain for plain, _ in survey(bounds).values()}) == len(recording("long").spec.eval_ks)  # type: ignore[union-attr]


def test_a_drawing_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(PARTS, "times", lambda look: 1 / 0)
    for k in range(3):
        assert "cannot be drawn" in json.loads(draw(Look("times", k=k)))["missing"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"part":"nothing"}',
        '{"part":"bounds","k":"5"}',
        '{"part":"bounds","k":true}',
        '{"part":"weights","digit":10}',
        '{"part":"weights","digit":-1}',
        '{"part":"curves","x":"years"}',
        '{"part":"bounds","words":"klingon"}',
        '{"part":"bounds","experiment":1}',
        '{"part":"bounds","more":1}',
    ],
)
def test_what_is_not_a_look_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Look.from_json(text)


@pytest.mark.parametrize("experiment", ["0" * 32, "../../etc/passwd", "<script>", ","])
def test_an_experiment_that_is_not_there_is_told(experiment: str) -> None:
    look = Look.from_json(json.dumps({"part": "bounds", "experiment": experiment}))
    assert stamp(look) == "gone"
    assert "there is no run" in json.loads(draw(look))["missing"]
    assert "<script>" not in json.loads(draw(look))["html"]


class Seen(HTMLParser):
    """The elements and the text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def failed() -> str:
    """The id of a run that tells everything, and failed with an error that is HTML."""
    folder = Path(os.environ["IWAE_RUNS_DIR"]) / ("f" * 32)
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(recording("long").spec.to_json())  # type: ignore[union-attr]
    seen = np.zeros((2, 1), np.float32)
    step = Closeup(1, (1, 1), DIGIT, seen, seen, seen, np.zeros((2, 2, 2), np.float32), np.stack([DIGIT[None]] * 2))
    told = [
        record.event for record in read_log(FOLDER / "long.jsonl.xz") if isinstance(record.event, Started | Snapshot)
    ]
    with EventLog(folder / LOG) as log:
        for event in (*told, step, Failed(6000, f"an error: {HOSTILE}")):
            log.append(event, 1.0)
    return folder.name


@pytest.mark.parametrize("part", ["headline", "reading", "digits", "status", "members"])
def test_labels_and_errors_that_are_html_are_shown_as_text(
    part: str, failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunSpec, "label", property(lambda run: HOSTILE))
    seen = Seen(json.loads(draw(Look(part, failed)))["html"])
    assert not seen.tags & {"script", "b"}
    assert "<script>alert(1)</script>" in seen.text
    message = HOSTILE.replace("</", "<")  # what looks like a folder of the server is cut from an error
    assert (f"an error: {message}." in seen.text) == (part == "status")
