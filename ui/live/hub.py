"""The web socket behind all live parts: each is drawn once per update, whoever many watch it.

A page sends the list of what it shows; the hub answers with the newest drawing of each, again whenever that changes. A
drawing becomes one compressed frame for all who see the same, and is not sent to those who have it already. A slow
reader skips drawings: only the latest of each waits for it. Who asks for more than others waits longer, see `Turns`; of
many lists the latest counts, and one that is sent again changes nothing. What is no list is an answer to a poll.
"""

import asyncio
import json
import logging
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected
from streamlit import config

from ui.live import polls
from ui.live.turns import Turns
from ui.visitor import visitor_of

if TYPE_CHECKING:
    from ui.live.scene import Look

LOGGER = logging.getLogger(__name__)
UPDATE_SECONDS = 0.5
LIST_SECONDS = 0.05  # between two looks at new lists
FRESH_SECONDS = 2 * UPDATE_SECONDS  # age of a drawing that a newcomer may be shown
REMEMBERED = 128  # drawings
SEND_SECONDS = 60.0  # that a page may take for one drawing
LEVEL = 3  # of compression
MAX_LOOKS = 16  # parts of one page
MAX_LOOK, MAX_MESSAGE = 1_000, 16_384  # characters
GONE = WebSocketDisconnect, WebSocketDisconnected, TimeoutError  # how a page goes
NOT_TEXT, TOO_LONG, ELSEWHERE, LATER = 1003, 1009, 1008, 1013


def live_url() -> str:
    """Path of the web socket under `server.baseUrlPath`."""
    base: str = config.get_option("server.baseUrlPath").strip("/")
    return f"{'/' if base else ''}{base}/live"


class Sent(NamedTuple):
    """What a page was sent last of a part: of which version, when, and the frame."""

    version: Hashable = None
    time: float = 0.0
    frame: bytes = b""


class Drawn(NamedTuple):
    """The last drawing of a part: of which version, when, and what is sent of it."""

    version: Hashable
    time: float
    drawing: bytes


class Reader:
    """One page that watches: what it shows, what it was sent last, and what waits to be sent."""

    def __init__(self, socket: WebSocket, who: str) -> None:
        self.socket, self.who = socket, who
        self.asked = ""
        self.looks: dict[str, Look] = {}
        self.sent: dict[str, Sent] = {}
        self._waiting: dict[str, bytes] = {}
        self._news = asyncio.Event()

    def has(self, key: str, version: Hashable) -> bool:
        """Whether the page has been sent this, or no longer wants it."""
        return key not in self.looks or self.sent.get(key, Sent()).version == version

    def sent_at(self, key: str) -> float:
        """When the page was last sent this part, 0 if never."""
        return self.sent.get(key, Sent()).time

    def offer(self, key: str, version: Hashable, frame: bytes) -> None:
        """Queue a drawing unless the page has it; an older one that still waits is dropped."""
        if self.has(key, version):
            return
        if self.sent.get(key, Sent()).frame != frame:
            self._waiting[key] = frame
            self._news.set()
        self.sent[key] = Sent(version, time.monotonic(), frame)

    async def listen(self) -> None:
        """Take the page's lists of looks until it goes."""
        while (message := await self.socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None or len(text) > MAX_MESSAGE:
                await self.socket.close(NOT_TEXT if text is None else TOO_LONG)
                return
            if not text.startswith("["):
                polls.vote(text, self.who)
            elif text != self.asked:
                self.asked = text
                HUB.hurry(self)

    def understand(self) -> None:
        """Show what was asked for last; what cannot be understood is left out."""
        self.looks = dict(_understood(self.asked))
        self.sent = {key: sent for key, sent in self.sent.items() if key in self.looks}
        self._waiting = {key: frame for key, frame in self._waiting.items() if key in self.looks}

    async def send(self) -> None:
        """Send what waits, as fast as the page takes it."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                frame = self._waiting.pop(next(iter(self._waiting)))
                async with asyncio.timeout(SEND_SECONDS):
                    await self.socket.send_bytes(frame)


def _scene() -> Any:
    """Imported at the first page, not with the server: it takes torch along."""
    import_module("ui.live.parts")
    return import_module("ui.live.scene")


def _understood(text: str) -> Iterable[tuple[str, "Look"]]:
    with suppress(ValueError, TypeError, RecursionError):
        for key in list(json.loads(text))[:MAX_LOOKS]:
            with suppress(ValueError, TypeError, RecursionError):
                if len(key) <= MAX_LOOK:
                    yield key, _scene().Look.from_json(key)


class Hub:
    """All readers, and the one task that draws for them."""

    def __init__(self) -> None:
        self.readers: set[Reader] = set()
        self._task: asyncio.Task[None] | None = None
        self._new: set[Reader] = set()  # those that want to see something else
        self._news = asyncio.Event()
        self._noted = 0.0
        self._drawn: OrderedDict[Look, Drawn] = OrderedDict()
        self.drawings, self.drawing_seconds = 0, 0.0  # since the server started; of processor time

    def hurry(self, reader: Reader) -> None:
        """Look after this reader now, because it wants to see something else."""
        self._new.add(reader)
        self._news.set()

    async def serve(self, socket: WebSocket) -> None:
        """Follow one page until it goes."""
        if not _same_origin(socket):
            await socket.close(ELSEWHERE, "cross-site")
            return
        if "ui.live.parts" not in sys.modules:
            await asyncio.to_thread(_scene)
        await socket.accept()
        reader = Reader(socket, visitor_of(socket))
        self.readers.add(reader)
        if self._task is None or self._task.done():
            self._news = asyncio.Event()  # of this loop: the last one may have been another's
            self._task = asyncio.create_task(self._draw_for_all())
        tasks = [asyncio.create_task(reader.listen()), asyncio.create_task(reader.send())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.readers.discard(reader)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, GONE):
                    LOGGER.error("a live socket has ended", exc_info=ended)

    async def _draw_for_all(self) -> None:
        turns = Turns()
        while self.readers:
            until = time.monotonic() + UPDATE_SECONDS
            turns.begin(self.readers)
            await self._note(turns, self.readers.copy())
            while self.readers and (left := until - time.monotonic()) > 0:
                if self._new and time.monotonic() >= self._noted + LIST_SECONDS:
                    await self._note(turns, self._new & self.readers)
                elif turns.wanted and turns.rest() <= 0:
                    await self._draw(turns)
                elif turns.wanted or self._new:
                    await asyncio.sleep(min(left, LIST_SECONDS / 5))
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), left)

    async def _note(self, turns: Turns, readers: set[Reader]) -> None:
        """Find out what these have not seen yet, those who want to see something else among them."""
        newcomers = readers & self._new
        for reader in newcomers:
            reader.understand()
        self._new.clear()
        self._news.clear()
        self._noted = time.monotonic()
        looks = {look for reader in readers for look in reader.looks.values()}
        found = await asyncio.to_thread(_scene().survey, looks)
        for reader in newcomers:
            self._welcome(reader, found)
        turns.note(readers & self.readers, found)

    def _welcome(self, reader: Reader, found: Mapping["Look", tuple["Look", Hashable]]) -> None:
        """Show at once what others have just been shown; what has changed since follows in its turn.

        Not the status, by which the buttons of a page go, nor a poll, which may have made way for another.
        """
        for key, look in reader.looks.items():
            shown = look in found and look.part not in ("status", "poll")
            last = self._drawn.get(found[look][0]) if shown else None
            if last and time.monotonic() < last.time + FRESH_SECONDS:
                reader.offer(key, last.version, packed(key, last.drawing))

    async def _draw(self, turns: Turns) -> None:
        look, version, places = turns.next()
        drawing, seconds = await asyncio.to_thread(_timed, look)
        self._drawn[look] = Drawn(version, time.monotonic(), drawing)
        self._drawn.move_to_end(look)
        while len(self._drawn) > REMEMBERED:
            self._drawn.popitem(last=False)
        frames = {key: packed(key, drawing) for _, key in places}
        for reader, key in places:
            reader.offer(key, version, frames[key])
        turns.charge(places, seconds)
        self.drawings += 1
        self.drawing_seconds += seconds


def _timed(look: "Look") -> tuple[bytes, float]:
    """A drawing, compressed, and the processor time that took."""
    begun = time.thread_time()
    return _compressed(_scene().draw(look)), time.thread_time() - begun


@lru_cache(maxsize=128)
def _compressed(drawing: str) -> bytes:
    return zlib.compress(drawing.encode(), LEVEL)


def packed(key: str, drawing: bytes) -> bytes:
    """What is sent: a part as the page asked for it, a line break, and the compressed drawing."""
    return key.encode(errors="replace") + b"\n" + drawing


def unpacked(frame: bytes) -> tuple[str, Any]:
    """What a page makes of it."""
    key, _, drawing = frame.partition(b"\n")
    return key.decode(), json.loads(zlib.decompress(drawing))


def _same_origin(socket: WebSocket) -> bool:
    origin: Any = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")


HUB = Hub()


def live_route() -> WebSocketRoute:
    """Route to pass to `streamlit.App(..., routes=[...])`."""
    return WebSocketRoute(live_url(), HUB.serve)
