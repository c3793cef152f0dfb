"""ASGI middleware in front of everything: the names the server answers to, how much at once, what browsers may do.

Pure ASGI, so that web sockets and files pass as they are.
"""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from ui.server.connections import crowded
from ui.server.settings import HOSTS, LOCAL, ServerSettings

HEALTH, STREAM = "/_stcore/health", "/_stcore/stream"
SLICE = 65_536  # bytes of an answer that wait for one reader
FULL = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="20"><title>IWAE laboratory</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1.1rem/1.5 sans-serif; margin: 15vh auto; max-width: 34rem;
padding: 0 1rem }}</style><h1>The laboratory is full</h1><p>{pages} pages are open, and this server shows no more at the
same time. This page tries again by itself every 20 seconds.</p></html>"""


class Door:
    """Answers what may be answered, and adds the headers that keep browsers from doing what no page here does."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings
        self.pages = 0
        address = str(config.get_option("server.address") or "")
        self.hosts = settings.hosts or (LOCAL if address in LOCAL or address.startswith("127.") else ("*",))
        self.headers = {
            "Content-Security-Policy": policy(settings.frame_ancestors),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        stream = scope["type"] == "websocket" and scope["path"].endswith(STREAM)
        if refusal := self._refusal(scope, stream):
            await refusal(scope, receive, self._guarded(scope, send))
            return
        self.pages += stream
        try:
            await self.app(scope, receive, self._guarded(scope, send))
        finally:
            self.pages -= stream

    def _refusal(self, scope: Scope, stream: bool) -> Response | None:
        headers = Headers(scope=scope)
        if scope["path"].endswith(HEALTH):
            return None
        if not allowed(headers.get("host", ""), self.hosts):
            text = f"This server does not answer to this name; whoever runs it can add it to {HOSTS}."
            return PlainTextResponse(text, 403)
        page = scope["type"] == "http" and "text/html" in headers.get("accept", "")
        if crowded() or ((stream or page) and self.pages >= self.settings.pages):
            again = {"Retry-After": "20", "Cache-Control": "no-store", "Connection": "close"}
            return HTMLResponse(FULL.format(pages=self.pages), 503, again)
        return None

    def _guarded(self, scope: Scope, send: Send) -> Send:
        """Headers for each answer, and large answers in slices: the next is sent once the last has been taken."""

        async def guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(self.headers)
            if message["type"] == "http.response.body":
                body, more = memoryview(message.get("body", b"")), message.get("more_body", False)
                while len(body) > SLICE:
                    await send({"type": "http.response.body", "body": bytes(body[:SLICE]), "more_body": True})
                    body = body[SLICE:]
                message = {"type": "http.response.body", "body": bytes(body), "more_body": more}
            await send(message)

        return guarded


def allowed(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header names this server: `*` is any name, `*.example.org` all below it."""
    if "*" in names:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return any(name == each.strip("[]") or (each.startswith("*.") and name.endswith(each[1:])) for each in names)


def policy(ancestors: tuple[str, ...]) -> str:
    """What the page may load and who may frame it. Streamlit's has a script inline, and makes modules of blobs."""
    inline = " ".join(f"'sha256-{found}'" for found in _inline_scripts())
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: {inline}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {' '.join(ancestors)}",
        )
    )


@cache
def _inline_scripts() -> tuple[str, ...]:
    page = (files("streamlit") / "static" / "index.html").read_text(encoding="utf-8")
    found = re.findall(r"<script>(.*?)</script>", page, re.S)
    return tuple(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
