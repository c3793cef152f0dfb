"""The web socket behind all live parts: each is drawn once per update, whoever many watch it.

A page sends the list of what it shows; the hub answers with the newest drawing of each, again whenever that changes. A
slow reader skips drawings: only the latest of each waits for it.
"""

import asyncio
import json
import logging
from collections.abc import Hashable, Iterable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit import config

if TYPE_CHECKING:
    from ui.live.scene import Look

LOGGER = logging.getLogger(__name__)
UPDATE_SECONDS = 0.5
MAX_LOOKS = 16  # parts of one page
MAX_MESSAGE = 16_384


def live_url() -> str:
    """Path of the web socket under `server.baseUrlPath`."""
    base: str = config.get_option("server.baseUrlPath").strip("/")
    return f"{'/' if base else ''}{base}/live"


class Reader:
    """One page that watches: what it shows, what it was sent last, and what waits to be sent."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.looks: dict[str, Look] = {}
        self.sent: dict[str, Hashable] = {}
        self._waiting: dict[str, str] = {}
        self._news = asyncio.Event()

    def offer(self, key: str, version: Hashable, drawing: str) -> None:
        """Queue a drawing unless the page has it; an older one that still waits is dropped."""
        if self.sent.get(key) != version:
            self.sent[key] = version
            self._waiting[key] = drawing
            self._news.set()

    async def listen(self) -> None:
        """Take the page's lists of looks until it goes; what cannot be understood is left out."""
        while True:
            text = await self.socket.receive_text()
            if len(text) <= MAX_MESSAGE:
                self.looks = dict(_understood(text))
                self.sent = {key: version for key, version in self.sent.items() if key in self.looks}
                HUB.hurry()

    async def send(self) -> None:
        """Send what waits, as fast as the page takes it."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                key = next(iter(self._waiting))
                await self.socket.send_text(f'{{"key":{json.dumps(key)},"data":{self._waiting.pop(key)}}}')


def _scene() -> Any:
    """Imported at the first page, not with the server: it takes torch along."""
    import_module("ui.live.parts")
    return import_module("ui.live.scene")


def _understood(text: str) -> Iterable[tuple[str, "Look"]]:
    with suppress(ValueError, TypeError, RecursionError):
        for key in list(json.loads(text))[:MAX_LOOKS]:
            with suppress(ValueError, TypeError):
                yield key, _scene().Look.from_json(key)


class Hub:
    """All readers, and the one task that draws for them."""

    def __init__(self) -> None:
        self.readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Draw now, because somebody wants to see something else."""
        self._hurry.set()

    async def serve(self, socket: WebSocket) -> None:
        """Follow one page until it goes."""
        if not _same_origin(socket):
            await socket.close(code=1008, reason="cross-site")
            return
        await asyncio.to_thread(_scene)
        await socket.accept()
        reader = Reader(socket)
        self.readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._draw_for_all())
        sender = asyncio.create_task(reader.send())
        with suppress(WebSocketDisconnect, RuntimeError):
            await reader.listen()
        self.readers.discard(reader)
        sender.cancel()

    async def _draw_for_all(self) -> None:
        while self.readers:
            self._hurry.clear()
            wanted = {key: look for reader in self.readers for key, look in reader.looks.items()}
            for key, look in wanted.items():
                try:
                    await self._draw(key, look)
                except Exception:  # one drawing that fails must not end all others
                    LOGGER.exception("cannot draw %s", key)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), UPDATE_SECONDS)

    async def _draw(self, key: str, look: "Look") -> None:
        await asyncio.to_thread(_scene().watched, look)
        version = await asyncio.to_thread(_scene().stamp, look)
        readers = [reader for reader in self.readers if key in reader.looks and reader.sent.get(key) != version]
        if readers:
            drawing = await asyncio.to_thread(_scene().draw, look)
            for reader in readers:
                reader.offer(key, version, drawing)


def _same_origin(socket: WebSocket) -> bool:
    origin: Any = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


HUB = Hub()


def live_route() -> WebSocketRoute:
    """Route to pass to `streamlit.App(..., routes=[...])`."""
    return WebSocketRoute(live_url(), HUB.serve)
