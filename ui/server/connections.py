"""Uvicorn's connections, with an end to waiting: for requests, for answers to be read, for messages too long."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ui.server.settings import ServerSettings

SPARE = 64  # connections beyond the limit, on which it is said that there is no room and the health check is answered
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# Frames that a web socket may send at once, and each second: a page sends a tenth of it.
FRAMES, FRAMES_A_SECOND = 200, 50
# Seconds that who breaks the rules of web sockets is not heard, on the same connection: sent away it would come back,
# and a new connection costs more than one that is kept.
PENANCE = 10.0
AT_ONCE = 4096  # bytes of a web socket that are looked at before its frames are counted
FAREWELL = 2.0  # seconds that connections have to close when the server ends


class Timed:
    """What both kinds of connection have: it ends if the other side does not read what is sent, or does not close."""

    settings: ClassVar[ServerSettings] = ServerSettings()
    everybody: ClassVar[set[Any]] = set()
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """So much is to be read that no more is sent for now."""
        super().pause_writing()  # type: ignore[misc]
        self._stalled = self.loop.call_later(self.settings.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has been read."""
        self._going_on()
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nothing to wait for any more."""
        self._going_on()
        super().connection_lost(exc)  # type: ignore[misc]

    def shutdown(self) -> None:
        """The server ends."""
        super().shutdown()  # type: ignore[misc]
        self.loop.call_later(FAREWELL, self.transport.abort)

    def _going_on(self) -> None:
        if self._stalled:
            self._stalled.cancel()


class Requests(Timed, H11Protocol):
    """An HTTP connection."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected; the request is to follow soon."""
        super().connection_made(transport)
        if len(self.everybody) > self.settings.connections + SPARE:
            transport.abort()
        else:
            self._expect()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or all of it."""
        super().data_received(data)
        upgraded = self.transport.get_protocol() is not self
        if upgraded or (self.cycle and not self.cycle.response_complete and not self.cycle.more_body):
            self._arrived()
        elif self._late is None:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nothing to expect any more."""
        self._arrived()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(self.settings.request_seconds, self._too_late)

    def _arrived(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = None

    def _too_late(self) -> None:
        if not (self.cycle and self.cycle.response_started):
            self.transport.write(LATE)
        self.transport.abort()


class Sockets(Timed, WebSocketsSansIOProtocol):
    """A web socket."""

    _frames = 0
    _ignored = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has come with a request; from here on messages may have this size."""
        super().connection_made(transport)
        self.conn.max_message_size = self.settings.message_kb * 1000
        self._begun = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of one."""
        for begin in range(0, len(data), AT_ONCE):
            if self._ignored or self.transport.is_closing():
                return
            super().data_received(data[begin : begin + AT_ONCE])
            if self._frames > FRAMES + FRAMES_A_SECOND * (self.loop.time() - self._begun):
                self._ignore()

    def handle_events(self) -> None:
        """Pass on what has arrived, and count it."""
        events = self.conn.events_received()
        self._frames += len(events)
        self.conn.events_received = lambda: events  # type: ignore[method-assign]
        super().handle_events()
        del self.conn.events_received

    def handle_parser_exception(self) -> None:
        """What has arrived is no frame, or one that is too long."""
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._ignore()

    def _ignore(self) -> None:
        self._ignored, self.read_paused = True, False  # or reading would go on with the next message taken
        self.close_sent = True
        self.stop_keepalive()
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1008, "reason": ""})
        self.transport.pause_reading()
        self.close_timer = self.loop.call_later(PENANCE, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """The other side does not answer, so it is not going to read a farewell either."""
        super().keepalive_timeout()
        self.transport.abort()


def crowded() -> bool:
    """Whether there are more connections than there may be."""
    return len(Timed.everybody) > Timed.settings.connections
