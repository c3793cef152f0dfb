"""The live socket on a server of its own, in this process, where its readers can be counted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette

from tests.support.running import wait_until
from ui.live.hub import live_route
from ui.server import connections
from ui.server.connections import Requests, Sockets


@contextmanager
def serving() -> Iterator[str]:
    """Where it can be reached."""
    config = uvicorn.Config(Starlette(routes=[live_route()]), port=0, log_level="error", http=Requests, ws=Sockets)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "PENANCE", 0.2)
        thread.start()
        wait_until(lambda: server.started)
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/live"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where one server for all tests of a file can be reached."""
    with serving() as at:
        yield at
