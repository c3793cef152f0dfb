"""Firefox, driven over WebDriver BiDi, which it speaks by itself: no driver besides the browser."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.running import wait_until

FOUND = shutil.which("firefox-esr") or shutil.which("firefox")
SECONDS = 60.0  # for one answer
LISTENS = re.compile(r"BiDi listening on (ws://\S+)")
# Where to press an element, "x y": its middle, if nothing covers that.
SPOT = """(found) => {
  found?.scrollIntoView({ block: "center", behavior: "instant" });
  const { x, y, width, height } = found?.getBoundingClientRect() ?? {};
  const [left, top] = [Math.round(x + width / 2), Math.round(y + height / 2)];
  return found?.contains(document.elementFromPoint(left, top)) && `${left} ${top}`;
}"""
# A new profile would open pages of its own and connections to Mozilla.
PREFERENCES = {
    "browser.aboutwelcome.enabled": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}


class Firefox:
    """One tab. Scripts are expressions; what they give is JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._sent = socket, 0
        self._call("session.new", capabilities={})
        self._tab = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str, width: int = 1366, height: int = 768) -> None:
        self._call("browsingContext.setViewport", context=self._tab, viewport={"width": width, "height": height})
        self._call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def value(self, expression: str) -> Any:
        """What an expression gives now."""
        script = f"JSON.stringify(({expression}) ?? null)"
        answer = self._call("script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=False)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def wait_for(self, condition: str) -> None:
        """Until an expression is true. Asked again and again: a promise that the page keeps is sometimes never told."""
        wait_until(lambda: bool(self.value(f"!!({condition})")))

    def click(self, element: str) -> None:
        """Press the middle of the element that an expression gives, as a mouse does, once it is there and stays put."""
        spots: list[str] = []

        def stays() -> bool:
            spots.append(self.value(f"({SPOT})({element})"))
            return bool(spots[-1]) and spots[-2:-1] == spots[-1:]

        wait_until(stays)
        x, y = map(int, spots[-1].split())
        moves = [{"type": "pointerMove", "x": x, "y": y}, {"type": "pointerDown", "button": 0}]
        self._act({"type": "pointer", "id": "mouse", "actions": [*moves, {"type": "pointerUp", "button": 0}]})

    def press(self, key: str) -> None:
        """A key, on whatever has the keyboard."""
        self._act(
            {"type": "key", "id": "keys", "actions": [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]}
        )

    def _act(self, source: dict[str, Any]) -> None:
        self._call("input.performActions", context=self._tab, actions=[source])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=SECONDS))
            if answer.get("id") == self._sent:
                assert answer["type"] == "success", answer
                return answer["result"]


@contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """A headless Firefox with a profile of its own in a folder."""
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    command = [str(FOUND), "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
    environment = os.environ | {"HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"}
    log = folder / "log"
    with log.open("wb") as written, subprocess.Popen(command, env=environment, stderr=written) as process:
        try:
            wait_until(lambda: process.poll() is not None or LISTENS.search(log.read_text()))
            found = LISTENS.search(log.read_text())
            assert found, log.read_text()
            with connect(f"{found[1]}/session", max_size=None) as socket:
                yield Firefox(socket)
        finally:
            process.terminate()
