"""The style sheet of the first screen, sent within the document: what a script puts there later makes the page jump."""

from functools import cache
from importlib.resources import files

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

END = b"</head>"


class FirstPaint:
    """ASGI middleware that puts `first.css` into HTML.

    Such an answer no longer is what its tag says, so it goes without: browsers ask for the document every time anyway.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; hold back the head of a document until it can be changed."""
        if scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", ""):
            del MutableHeaders(scope=scope)["accept-encoding"]  # what is compressed already cannot be changed
        held: list[Message] = []
        body = bytearray()

        async def send_styled(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_document(message):
                held.append(message)
            elif not held:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    styled = bytes(body).replace(END, _style() + END, 1) if body else b""
                    await send(_changed(held.pop(), len(styled) - len(body)))
                    await send({"type": "http.response.body", "body": styled})

        await self.app(scope, receive, send_styled)


def _is_document(start: Message) -> bool:
    headers = MutableHeaders(scope=start)
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


def _changed(start: Message, longer: int) -> Message:
    headers = MutableHeaders(scope=start)
    del headers["etag"], headers["last-modified"]
    if "content-length" in headers:
        headers["content-length"] = str(int(headers["content-length"]) + longer)
    return start


@cache
def _style() -> bytes:
    return b"<style>" + (files("ui") / "first.css").read_bytes() + b"</style>"
