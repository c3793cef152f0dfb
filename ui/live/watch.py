"""Where the page of those who only watch is found: the live parts and nothing else, so that a class costs little.

It is the same for everybody and needs no script run: what it shows comes over the web socket, and which experiment that
is stands in its address, `watch?run=ID`.
"""

import asyncio
import gzip
from importlib import import_module
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit import config


class File(NamedTuple):
    """What is sent: compressed once, and opened again for the few who want it so."""

    compressed: bytes
    media_type: str
    caching: str

    def answer(self, request: Request) -> Response:
        """The answer to a request."""
        headers = {"Cache-Control": self.caching, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self.compressed, headers=headers, media_type=self.media_type)
        return Response(gzip.decompress(self.compressed), headers=headers, media_type=self.media_type)


def watch_url() -> str:
    """Path of the page under `server.baseUrlPath`."""
    base: str = config.get_option("server.baseUrlPath").strip("/")
    return f"{'/' if base else ''}{base}/watch"


def watch_routes() -> list[Route]:
    """Routes to pass to `streamlit.App(..., routes=[...])`: the page and its script."""
    return [Route(watch_url(), _answer), Route(f"{watch_url()}-{{hash}}.js", _answer)]


async def _answer(request: Request) -> Response:
    # Imported at the first page, not with the server: it takes torch along.
    made: Any = await asyncio.to_thread(import_module, "ui.live.watch_page")
    wanted: File = made.script() if request.path_params else made.page()
    return wanted.answer(request)
