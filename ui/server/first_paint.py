"""What comes within the document, or along with it: the first screen's style sheet, and scripts that pages soon need.

What a script brings only later makes a page wait, and then jump.
"""

import re
from functools import cache
from importlib.resources import files

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

END = b"</head>"
# Streamlit's own scripts for what these pages show first. It asks for each only when there is something to draw.
SOON = ("BidiComponent", "Button", "ButtonGroup", "Html", "PageLink", "Radio", "Selectbox", "Slider", "rehype-katex")


class FirstPaint:
    """ASGI middleware that puts `first.css` into HTML, and names of scripts to fetch.

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
                    styled = bytes(body).replace(END, _head() + END, 1) if body else b""
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
def _head() -> bytes:
    links = "".join(f'<link rel="modulepreload" crossorigin href="./static/js/{name}">' for name in scripts())
    return links.encode() + b"<style>" + (files("ui") / "first.css").read_bytes() + b"</style>"


def scripts() -> list[str]:
    """The files of `SOON` and all that they import, where the document does not name them already."""
    static = files("streamlit") / "static"
    folder, known = static / "static" / "js", set(_named((static / "index.html").read_text(encoding="utf-8")))
    found: list[str] = []
    wanted = [file.name for file in folder.iterdir() if file.name.partition(".")[0] in SOON]
    for name in wanted:  # which grows
        if name not in known:
            known.add(name)
            found.append(name)
            wanted += _named((folder / name).read_text(encoding="utf-8"))
    return found


def _named(text: str) -> list[str]:
    """Scripts that a document or a script needs before it does anything."""
    return re.findall(r'(?:from|import|/js)"?(?:\./|/)([\w.-]+\.js)"', text)
