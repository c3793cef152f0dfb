"""What outsiders can send, made up by the thousand: addresses, and whatever comes to mind on the live socket."""

import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import ui.live.parts  # noqa: F401  (registers what can be drawn)
from tests.support.live import address as address
from tests.support.pages import APP
from tests.support.running import wait_until
from ui import session
from ui.live.hub import HUB, unpacked
from ui.live.scene import PARTS, VIEWED
from ui.settings import ALL

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
TEXTS = st.text(max_size=20) | st.sampled_from(["", "nan", "1e9", "-1", "5" * 60_000, "vae,iwae:k=5", "1:600:iwae:20"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
# Nearly what a page sends, so that more than the first check is met.
LOOKS = st.fixed_dictionaries(
    {"part": st.sampled_from(sorted(PARTS)) | JSON},
    optional={name: JSON | st.integers(-2, 10) | st.sampled_from(["steps", "coding"]) for name in VIEWED}
    | {"experiment": st.sampled_from(["", "0" * 32, "../..", ",", "0" * 32 + ","]) | JSON},
).map(json.dumps)
MESSAGES = JSON.map(json.dumps) | st.lists(LOOKS | TEXTS, max_size=20).map(json.dumps) | st.text(max_size=50)
NAMES = st.sampled_from([*ALL, "run", "sweep", "ks", "embed", "x" * 100]) | st.text(min_size=1, max_size=9)
ADDRESSES = st.lists(st.tuples(NAMES, TEXTS), max_size=6)
GOOD = json.dumps({"part": "times", "k": 7})


@pytest.fixture(scope="module", autouse=True)
def _an_engine_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IWAE_RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        yield
    session.close_engine()


def read_on(socket: ClientConnection) -> None:
    while True:
        socket.recv(timeout=60)


@settings(max_examples=EXAMPLES * 3)
@given(st.lists(MESSAGES, max_size=5), st.none() | st.binary(max_size=9))
def test_whatever_comes_on_the_live_socket_a_page_is_served_afterwards_and_nothing_left(
    address: str, messages: list[str], last: bytes | None
) -> None:
    with connect(address, max_size=None) as socket:
        for message in messages:
            if len(message) < 16_000:
                socket.send(message)
        socket.send(json.dumps([GOOD]))
        while unpacked(socket.recv(timeout=60))[0] != GOOD:
            pass
        if last is not None:
            socket.send(last)
            with pytest.raises(ConnectionClosed):
                read_on(socket)
    wait_until(lambda: not HUB.readers)


@settings(max_examples=EXAMPLES)
@given(ADDRESSES)
def test_whatever_an_address_says_the_page_is_drawn_and_says_what_it_left_out(address: list[tuple[str, str]]) -> None:
    page = AppTest.from_file(str(APP), default_timeout=120)
    for name, value in address:
        page.query_params[name] = value
    page.run()
    assert not page.exception
    assert page.title[0].value
    told = [warning.value.replace("\\", "") for warning in page.warning]
    assert all("in the address must be" in text or "there is no run" in text for text in told)
    assert all(len(text) < 500 for text in told)
