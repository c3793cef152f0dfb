"""The plotly.js that the plotly package ships, served from the page's own origin, compressed once per process."""

import gzip
from functools import cache

from plotly.offline import get_plotlyjs, get_plotlyjs_version
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit import config


def plotly_js_url() -> str:
    """Path of plotly.js under `server.baseUrlPath`; it names the version, so browsers may keep it for good."""
    base: str = config.get_option("server.baseUrlPath").strip("/")
    return f"{'/' if base else ''}{base}/assets/plotly-{get_plotlyjs_version()}.min.js"


def plotly_js_route() -> Route:
    """Route to pass to `streamlit.App(..., routes=[...])`."""
    return Route(plotly_js_url(), _respond)


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
    return gzip.compress(get_plotlyjs().encode(), mtime=0)
