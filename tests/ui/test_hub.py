"""The live web socket as a server and its clients see it: real sockets, and clients that mean harm."""

import json
import threading
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.live import address as address
from tests.support.live import serving
from tests.support.running import wait_until
from ui.live import hub, scene
from ui.live.hub import HUB, unpacked
from ui.server.connections import Sockets

KEY = json.dumps({"part": "times"})
OTHER = json.dumps({"part": "status"})


def told(socket: ClientConnection) -> str:
    """The key of the next part that is sent."""
    frame = socket.recv(timeout=60)
    assert isinstance(frame, bytes)
    return unpacked(frame)[0]


def asked(socket: ClientConnection, *keys: str) -> list[str]:
    """Ask for these parts; their keys as they are answered."""
    socket.send(json.dumps(keys))
    return [told(socket) for _ in keys]


def given(error: ConnectionClosed) -> int | None:
    """The code with which the server has closed a socket."""
    return error.rcvd.code if error.rcvd else None


def test_a_second_server_in_the_same_process_is_drawn_for_like_the_first() -> None:
    for _ in range(2):
        with serving() as at, connect(at) as socket:
            for key in (KEY, OTHER, KEY, OTHER):  # between two of them the hub waits for news
                assert asked(socket, key) == [key]
        wait_until(lambda: not HUB.readers)


@pytest.mark.parametrize(
    ("message", "code"), [(b"\0", hub.NOT_TEXT), (b"", hub.NOT_TEXT), ("x" * (hub.MAX_MESSAGE + 1), hub.TOO_LONG)]
)
def test_a_frame_that_no_page_sends_ends_the_socket_and_leaves_nothing(
    address: str, message: str | bytes, code: int
) -> None:
    with connect(address) as socket:
        assert asked(socket, KEY) == [KEY]
        assert len(HUB.readers) == 1
        socket.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
        assert given(closed.value) == code
    wait_until(lambda: not HUB.readers)


def test_a_message_larger_than_may_be_is_not_even_taken(address: str) -> None:
    with connect(address) as socket:
        socket.send("x" * (Sockets.settings.message_kb * 1000 + 1))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert given(closed.value) == hub.TOO_LONG


def flood(socket: ClientConnection) -> None:
    for _ in range(5000):
        socket.send("[]")
    socket.recv(timeout=60)


def test_who_sends_more_than_a_page_does_is_not_heard(address: str) -> None:
    with connect(address) as socket, pytest.raises(ConnectionClosed):
        flood(socket)
    wait_until(lambda: not HUB.readers)


def test_what_cannot_be_understood_is_left_out(address: str) -> None:
    with connect(address) as socket:
        for message in "", "{", "5", "null", '["no look"]', "[[]]", "[null, 5]", "[" * 10_000, json.dumps([KEY * 100]):
            socket.send(message)
        socket.send(json.dumps(["no look", KEY]))
        assert told(socket) == KEY


def test_a_newcomer_sees_at_once_what_others_have_just_been_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_until(lambda: HUB._task is None or HUB._task.done())  # nothing is left of other tests
    HUB._drawn.clear()  # nor their drawings: the first would be shown those, and then what this test draws
    drawn: list[str] = []
    allowed, version = threading.Event(), ["first"]

    def draw(look: Any) -> str:
        assert allowed.wait(60)
        drawn.append(look.part)
        return made(look)

    def survey(looks: Any) -> Any:
        return {look: (same, version[0]) for look, (same, _) in found(looks).items()}

    made, found = scene.draw, scene.survey
    monkeypatch.setattr(scene, "draw", draw)
    monkeypatch.setattr(scene, "survey", survey)
    monkeypatch.setattr(hub, "FRESH_SECONDS", 600.0)
    allowed.set()
    with connect(address) as first, connect(address) as second, connect(address) as third:
        assert sorted(asked(first, KEY, OTHER)) == sorted([KEY, OTHER])
        before = len(drawn)
        assert sorted(asked(second, KEY, OTHER)) == sorted([KEY, OTHER])
        assert drawn[before:] == ["status"], "by which the buttons go: always as it is now"
        allowed.clear()
        version[0], before = "second", len(drawn)
        assert asked(third, KEY) == [KEY], "while the new one is being drawn"
        assert len(drawn) == before
        allowed.set()
        wait_until(lambda: "times" in drawn[before:])
    wait_until(lambda: not HUB.readers)


def test_a_list_sent_again_is_not_looked_at_and_a_new_one_concerns_its_reader_alone(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(address) as first:
        asked(first, KEY)
    wait_until(lambda: HUB._task is None or HUB._task.done())
    surveyed: list[set[Any]] = []

    def survey(looks: set[Any]) -> Any:
        if isinstance(looks, set):  # a drawing's own question is a list
            surveyed.append({look.part for look in looks})
        return found(looks)

    found = scene.survey
    monkeypatch.setattr(scene, "survey", survey)
    monkeypatch.setattr(hub, "UPDATE_SECONDS", 600.0)  # nothing happens but by haste
    with connect(address) as first, connect(address) as second:
        wait_until(lambda: len(HUB.readers) == 2)
        assert asked(first, KEY) == [KEY]
        before = len(surveyed)
        for _ in range(5):
            first.send(json.dumps([KEY]))
        assert asked(second, OTHER) == [OTHER]
        first.send(json.dumps([KEY, OTHER]))
        assert told(first) == OTHER
        assert surveyed[before:] == [{"status"}, {"times", "status"}]
    wait_until(lambda: not HUB.readers)
