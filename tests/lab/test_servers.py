"""Several servers on one folder of runs: each knows which runs are another's."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from iwae_lab.engines import State, UnknownExperimentError, open_engine
from iwae_lab.engines.presence import SERVER, SERVERS, Presence
from iwae_lab.engines.protocol import Pause, Stop
from iwae_lab.records.log import LogError
from tests.support.running import LIMITS, LONG, MakeEngine, another, dismiss, finish, reach
from tests.support.running import cluster as cluster
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers


def test_two_servers_know_each_others_runs(make_engine: MakeEngine) -> None:
    first = make_engine(slots=1)
    running, paused, waiting = (first.submit(LONG, "me") for _ in range(3))
    reach(first, running, 2)
    first.send(paused, Pause(), "me")
    second = another(first, first.folder)
    for experiment in running, paused, waiting:
        assert second.state(experiment) is State.ELSEWHERE
        assert second.state(experiment).active, "more may come"
        for command in (
            lambda experiment=experiment: second.send(experiment, Stop(), "me"),
            lambda experiment=experiment: second.recover(experiment, "me"),
        ):
            with pytest.raises(LogError, match="in the care of another server"):
                command()
    assert second.history(running).step >= 2, "to watch it is allowed"
    assert second.experiments("me") == first.experiments("me")
    own = second.submit(LONG, "me")
    assert first.state(own) is State.ELSEWHERE
    assert [first.state(experiment) for experiment in (paused, waiting)] == [State.PAUSED, State.QUEUED]
    first.close()
    for experiment in running, paused, waiting:
        assert second.state(experiment) is State.INTERRUPTED
    second.recover(running, "me")
    third = another(second, second.folder)
    assert third.state(running) is State.ELSEWHERE
    second.send(running, Stop(), "me")
    finish(second, running)
    assert third.state(running) is State.STOPPED
    dismiss(second)
    third.recover(running, "me")
    reach(third, running, third.history(running).step + 1)
    dismiss(third)


def test_nobody_makes_room_with_anothers_run(make_engine: MakeEngine) -> None:
    first = make_engine()
    waiting = [first.submit(LONG, "me") for _ in range(3)][-1]
    for path in (first.folder / waiting, *(first.folder / waiting).iterdir()):
        os.utime(path, (1, 1))
    second = another(first, first.folder, replace(LIMITS, quota_mb=0.0))
    second._supervisor._prune()
    assert second.state(waiting) is State.ELSEWHERE
    first.close()
    second._supervisor._prune()
    with pytest.raises(UnknownExperimentError):
        second.state(waiting)
    dismiss(second)


def test_a_server_that_died_has_nothing_in_its_care(tmp_path: Path) -> None:
    dead, folder = Presence(tmp_path), tmp_path / "run"
    folder.mkdir()
    dead.claim(folder)
    other = Presence(tmp_path)
    assert other.elsewhere(folder)
    assert not dead.elsewhere(folder)
    assert dead._leave
    dead._leave()  # as at any death
    assert not other.elsewhere(folder)
    other.claim(folder)
    assert [path.name for path in (tmp_path / SERVERS).iterdir()] == [other.name], "what it left is tidied"
    assert dead.elsewhere(folder)
    other.close()
    assert not dead.elsewhere(folder)
    assert not list((tmp_path / SERVERS).iterdir())


@pytest.mark.parametrize("content", [b"", b"../../etc/passwd", b"/etc/passwd", b"\xff\0", b"x" * 10_000])
def test_what_is_no_server_has_nothing_in_its_care(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / SERVER).write_bytes(content)
    assert not Presence(tmp_path).elsewhere(folder)


def test_an_engine_that_runs_nothing_leaves_nothing(tmp_path: Path) -> None:
    engine = open_engine("inline", tmp_path / "runs", LIMITS)
    assert engine.experiments("") == []
    engine.close()
    assert not list(tmp_path.iterdir())
