"""The cookie by which a visitor is known again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message

from ui.visitor import COOKIE, VisitorCookie

PAGE = {"media_type": "text/html"}
NAVIGATION = "text/html,application/xhtml+xml,*/*;q=0.8"


def answered(response: Response, accept: str, cookie: str = "") -> Headers:
    """The headers of the answer to a browser that accepts this and has this cookie."""
    sent: list[Message] = []
    headers = [(b"accept", accept.encode()), (b"cookie", cookie.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

    async def nothing() -> Message:
        return {"type": "http.request"}

    async def keep(message: Message) -> None:
        sent.append(message)

    with ThreadPoolExecutor() as thread:  # the browser of other tests has an event loop in this one
        thread.submit(asyncio.run, VisitorCookie(response)(scope, nothing, keep)).result()
    return Headers(raw=sent[0]["headers"])


@pytest.mark.parametrize(
    ("response", "accept", "given"),
    [
        (Response("page", **PAGE), NAVIGATION, True),
        (Response(status_code=304), NAVIGATION, True),  # the page a browser keeps, which has lost its cookie
        (Response(status_code=304), "*/*", False),  # a script it keeps
        (Response("code", media_type="text/javascript"), "*/*", False),
    ],
)
def test_a_cookie_comes_with_the_page_and_with_nothing_else(response: Response, accept: str, given: bool) -> None:
    cookie = answered(response, accept).get("set-cookie", "")
    assert cookie.startswith(f"{COOKIE}=") is given
    assert ("HttpOnly" in cookie and "SameSite=Lax" in cookie) is given


def test_a_browser_that_has_one_keeps_it() -> None:
    assert "set-cookie" not in answered(Response("page", **PAGE), NAVIGATION, f"{COOKIE}={'0' * 32}")
