"""What a browser may ask the live web socket for, and what it is told of runs that are not there."""

import json
from collections.abc import Iterator

import pytest

import ui.live.parts  # noqa: F401  (registers what can be drawn)
from ui import session
from ui.live.scene import PARTS, Look, draw, stamp


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
        '{"part":"bounds","run":1}',
        '{"part":"bounds","more":1}',
    ],
)
def test_what_is_not_a_look_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Look.from_json(text)


@pytest.mark.parametrize("run", ["0" * 32, "../../etc/passwd", "<script>", ","])
def test_a_run_that_is_not_there_is_told(run: str) -> None:
    look = Look.from_json(json.dumps({"part": "bounds", "run": run}))
    assert stamp(look) == "gone"
    assert "there is no run" in json.loads(draw(look))["missing"]
    assert "<script>" not in json.loads(draw(look))["html"]
