"""Clicks that the server meets sooner than it can answer those before, by the page's protocol."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from iwae_core.estimators import ESTIMATORS
from iwae_core.training.events import Swapped, decode
from iwae_lab.records.folder import LOG
from tests.support.running import wait_until
from tests.support.server import Server, server

SMALL = "k=2&batch_size=2&steps=1000000&eval_images=2&eval_k=2"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("double"), IWAE_SLOTS="2", IWAE_PER_ADDRESS="1") as started:
        yield started


def opened(server: Server, address: str = "") -> ClientConnection:
    """The page's own socket, without a cookie, as a proxy passes it on for somebody at an address."""
    url, headers = f"ws://127.0.0.1:{server.port}/_stcore/stream", {"X-Forwarded-For": address} if address else {}
    protocol = [Subprotocol("streamlit")]
    return connect(url, subprotocols=protocol, max_size=None, additional_headers=headers)


def kept(server: Server) -> set[Path]:
    """Of each experiment started so far, what was to be trained."""
    return set((server.log.parent / "runs").glob("*/spec.json"))


class Browser:
    """A browser far away: its address stays what it was when the page was opened."""

    def __init__(self, socket: ClientConnection, address: str, page: str = "") -> None:
        self.socket, self.buttons, self.errors = socket, dict[str, str](), list[str]()
        self.inputs: dict[str, WidgetState] = {}  # as they were shown, by label
        self.message = BackMsg()
        self.message.rerun_script.query_string = address
        self.message.rerun_script.page_name = page
        self.run()

    def run(self) -> None:
        """Send the message, and read what the page then is."""
        self.socket.send(self.message.SerializeToString())
        self._read()

    def interrupt(self, button: str, *inputs: str) -> None:
        """Press a button beside inputs, and something else at once, which the server meets before it has begun."""
        self._push(button)
        self.message.rerun_script.widget_states.widgets.extend(self.inputs[label] for label in inputs)
        self.socket.send(self.message.SerializeToString())
        self.message.rerun_script.widget_states.Clear()
        self.run()

    def _push(self, button: str) -> None:
        self.message.rerun_script.widget_states.widgets.add(id=button, trigger_value=True)

    def _read(self) -> None:
        while True:
            answer = ForwardMsg.FromString(self.socket.recv(timeout=120))  # type: ignore[arg-type]
            element = answer.delta.new_element
            if element.WhichOneof("type") == "button":
                self.buttons[element.button.label] = element.button.id
            if element.WhichOneof("type") == "selectbox":
                shown = element.selectbox
                self.inputs[shown.label] = WidgetState(id=shown.id, string_value=shown.options[shown.default])
            if element.WhichOneof("type") == "number_input":
                number = element.number_input
                self.inputs[number.label] = WidgetState(id=number.id, double_value=number.default)
            if element.WhichOneof("type") == "alert":
                self.errors.append(element.alert.body)
            if (
                answer.WhichOneof("type") == "script_finished"
                and answer.script_finished == answer.FINISHED_SUCCESSFULLY
            ):
                return

    def press(self, button: str, times: int) -> None:
        """Press a button as it was when the page was opened."""
        self._push(button)
        for _ in range(times - 1):
            self.socket.send(self.message.SerializeToString())
        self.run()
        self.message.rerun_script.widget_states.Clear()
        self.run()  # and whatever was still to be done


def test_who_drops_the_cookie_is_one_visitor_all_the_same(started: Server) -> None:
    def start(address: str) -> list[str]:
        with opened(started, address) as socket:
            browser = Browser(socket, SMALL)
            browser.press(browser.buttons["Train"], times=1)
            return browser.errors

    assert start("203.0.113.7") == start("2001:db8::7:0:0:1") == []
    for same in "203.0.113.7", "2001:db8::7:0:0:2":  # nobody has but one address of IPv6
        refused = r"Not started: 1 unfinished experiments were started from your network, and 1 are allowed; stop one"
        assert [error.replace("\\", "").startswith(refused) for error in start(same)] == [True]
    assert start("203.0.113.8") == []


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("page", "label", "runs"),
    [("", "Train", 1), ("sweep", "Train the sweep", 3)],
    ids=["train", "sweep"],
)
def test_the_second_half_of_a_double_click_starts_nothing(
    started: Server, page: str, label: str, runs: int, at_once: bool
) -> None:
    before = kept(started)
    with opened(started) as socket:
        browser = Browser(socket, SMALL, page)
        button = browser.buttons[label]
        browser.press(button, times=2 if at_once else 1)
        assert len(kept(started) - before) == runs
        browser.press(button, times=1)
        assert len(kept(started) - before) == runs


def test_a_swap_is_not_lost_when_something_else_is_pressed_at_once(tmp_path: Path) -> None:
    with server(tmp_path) as alone, opened(alone) as socket:
        browser = Browser(socket, SMALL)
        browser.press(browser.buttons["Train"], times=1)
        (spec,) = kept(alone)
        log = spec.parent / LOG
        wait_until(log.exists)
        for times in range(1, 6):  # one in four reached the engine while the next press could still interrupt it
            browser.inputs["run to swap"].string_value = "1: VAE"  # just chosen: the page has not asked for its k yet
            browser.interrupt(browser.buttons["Swap now"], "run to swap", "from now on trained by", "with k")
            wait_until(lambda: log.read_text().count('"Swapped"') == times)  # noqa: B023
        for line in (line for line in log.read_text().splitlines() if '"Swapped"' in line):
            swapped = decode(line).event
            assert isinstance(swapped, Swapped)
            assert (swapped.run, swapped.estimator, swapped.k) == (0, next(iter(ESTIMATORS)), 2)
        assert browser.errors == []
