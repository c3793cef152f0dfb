"""plotly.js, served from the page's own origin, and announced with the page so that it comes while the page starts."""

import gzip
from functools import cache

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from iwae_lab.figures import plotly_js

CHARTLESS = ("story", "words")  # pages without a chart of Plotly


def plotly_js_url() -> str:
    """Path of plotly.js under `server.baseUrlPath`; it names the version, so browsers may keep it for good."""
    base: str = config.get_option("server.baseUrlPath").strip("/")
    return f"{'/' if base else ''}{base}/assets/plotly-cartesian-{plotly_js.VERSION}.min.js"


def plotly_js_route() -> Route:
    """Route to pass to `streamlit.App(..., routes=[...])`."""
    return Route(plotly_js_url(), _respond)


class PlotlyPreload:
    """ASGI middleware that has browsers fetch plotly.js along with the scripts of a page that has charts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; add the hint to HTML."""

        async def send_with_hint(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                chartless = scope["path"].rpartition("/")[2] in CHARTLESS
                if headers.get("content-type", "").startswith("text/html") and not chartless:
                    headers.append("link", f"<{plotly_js_url()}>; rel=preload; as=script")
            await send(message)

        await self.app(scope, receive, send_with_hint)


def _respond(request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    body = _compressed()
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, headers=headers, media_type="text/javascript")


@cache
def _compressed() -> bytes:
    return plotly_js.compressed()
