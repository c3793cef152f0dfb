"""The server's process: its files, memory and connections, what it logs, and how it ends."""

import ctypes
import logging
import resource
import signal
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import uvicorn

from ui.server.connections import FAREWELL, Requests, Sockets, Timed
from ui.server.settings import ServerSettings

LOGGER = logging.getLogger(__name__)
# Open files for everything but pages: libraries, logs, pipes to workers, the 128 closed pages that Streamlit remembers.
RESERVE = 500
A_PAGE = 3  # open files of a page, beside its connections
ENOUGH = 65_536
ARENA_MAX, ARENAS = -8, 2  # glibc's number for the setting; its pools of memory
MMAP_THRESHOLD, LARGE = -3, 32_768  # glibc's number for the setting; bytes
NOISY = "asyncio", "streamlit", "uvicorn", "websockets"
AGAIN = 60.0  # seconds until the same message is logged again


def take_over(settings: ServerSettings, at_end: Callable[[], None]) -> None:
    """Make the uvicorn server that Streamlit has started a patient one that ends well; called while it starts.

    Told to end, it says goodbye to its connections, and does `at_end` meanwhile.

    Streamlit passes no settings on to it, but the handler of its signals leads to it. Another server stays as it is.
    """
    once = _Once()
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in NOISY:
            logging.getLogger(name).addFilter(once)
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if not isinstance(server, uvicorn.Server):
        LOGGER.warning("limits of connections do not hold: this server was not started by `streamlit run`")
        return
    Timed.settings, Timed.everybody = settings, server.server_state.connections
    server.config.http_protocol_class, server.config.ws_protocol_class = Requests, Sockets
    server.config.timeout_graceful_shutdown = int(FAREWELL) + 1
    if threading.current_thread() is threading.main_thread():

        def end(*_: object) -> None:
            server.should_exit = True
            threading.Thread(target=at_end).start()

        # Its own handler would have the process die of the signal once everything is closed, with exit code 143.
        signal.signal(signal.SIGTERM, end)


def possible(settings: ServerSettings) -> ServerSettings:
    """With no more pages and connections than there can be, having asked the system for all the files it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < (most := min(hard, ENOUGH) if hard != resource.RLIM_INFINITY else ENOUGH):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    free = max(soft - RESERVE, 80)
    pages = min(settings.pages, free // 8)
    fewer = replace(settings, pages=pages, connections=min(settings.connections, free - A_PAGE * pages))
    if fewer != settings:
        files = "the system allows this server to open only %d files"
        LOGGER.warning(f"%d pages and %d connections at a time: {files}", pages, fewer.connections, soft)
    return fewer


def spare_memory() -> None:
    """Have all threads share two pools of memory, and large blocks none: free pieces of a pool are not given back.

    Each thread would keep a pool as large as it has ever been. And once a block of up to 32 MB has been freed, glibc
    takes all that are smaller from the pools, from then on.
    """
    with suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(ARENA_MAX, ARENAS)
        library.mallopt(MMAP_THRESHOLD, LARGE)


class _Once(logging.Filter):
    """Lets the same message through once a minute: what a client can cause it can cause a thousand times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[Hashable, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it has not been told for a while."""
        error: Any = record.exc_info[1] if record.exc_info else None
        message, now = (record.name, record.msg, repr(error)[:200]), time.monotonic()
        if now - self._told.get(message, -AGAIN) < AGAIN:
            return False
        if len(self._told) > 1000:
            self._told.clear()
        self._told[message] = now
        return True
