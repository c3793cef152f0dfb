"""Who a visitor is: a random name in a cookie, so a run's owner is known again after a refresh or in another tab."""

import hashlib
import re
import secrets
from http import HTTPStatus

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "iwae_visitor"
TOKEN = re.compile(r"[0-9a-f]{32}")
YEAR = 365 * 24 * 3600


class VisitorCookie:
    """ASGI middleware that gives a cookie to a browser that has none, with the page itself.

    Also where the browser asks for the page and is told that the one it keeps is still good: it may have lost the
    cookie since, and would lose its runs at every reload. The cookie is out of reach for scripts and is not sent along
    with other sites' requests. A browser that keeps no cookies still controls the runs of its open page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; add the cookie to HTML."""
        if scope["type"] != "http" or COOKIE in (request := Request(scope)).cookies:
            await self.app(scope, receive, send)
            return
        wants_page = "text/html" in request.headers.get("accept", "")

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                unchanged = message["status"] == HTTPStatus.NOT_MODIFIED and wants_page
                if unchanged or headers.get("content-type", "").startswith("text/html"):
                    cookie = f"{COOKIE}={secrets.token_hex(16)}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax"
                    headers.append("set-cookie", cookie)
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def visitor() -> str:
    """The token of whoever looks at the page, from the cookie or else for this page only."""
    token = st.context.cookies.get(COOKIE, "")
    if not TOKEN.fullmatch(token):
        token = st.session_state.setdefault("visitor", secrets.token_hex(16))
    return hashlib.sha256(token.encode()).hexdigest()
