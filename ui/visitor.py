"""Who a visitor is: a random name in a signed cookie, so a run's owner is known again after a refresh or a restart."""

import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from pathlib import Path

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iwae_lab.records.place import runs_folder
from ui.server.settings import SECRET

LOGGER = logging.getLogger(__name__)
COOKIE = "iwae_visitor"
YEAR = 365 * 24 * 3600
SECRET_FILE = "secret"


class VisitorCookie:
    """ASGI middleware that gives a cookie to a browser that has none of this server's, with the page itself.

    Also where the browser asks for the page and is told that the one it keeps is still good: it may have lost the
    cookie since, and would lose its runs at every reload. The cookie is out of reach for scripts, is not sent along
    with other sites' requests, and under HTTPS only by HTTPS. A browser that keeps no cookies still controls the runs
    of its open page.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; add the cookie to HTML."""
        if scope["type"] != "http" or _name(HTTPConnection(scope).cookies):
            await self.app(scope, receive, send)
            return
        wants_page = "text/html" in HTTPConnection(scope).headers.get("accept", "")
        secure = "; Secure" if scope.get("scheme") == "https" else ""

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                unchanged = message["status"] == HTTPStatus.NOT_MODIFIED and wants_page
                if unchanged or headers.get("content-type", "").startswith("text/html"):
                    value = f"{COOKIE}={new_cookie()}; Max-Age={YEAR}; Path=/; HttpOnly; SameSite=Lax{secure}"
                    headers.append("set-cookie", value)
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def new_cookie() -> str:
    """A name that nobody has yet, and this server's signature."""
    name = secrets.token_hex(16)
    return f"{name}.{_signature(name)}"


def visitor() -> str:
    """The token of whoever looks at the page, from the cookie or else for this page only."""
    name = _name(st.context.cookies) or st.session_state.setdefault("visitor", secrets.token_hex(16))
    return hashlib.sha256(name.encode()).hexdigest()


def network() -> str:
    """Where whoever looks at the page comes from: an address, or of IPv6 the part that one customer has.

    Empty if it is this machine, or not known.
    """
    given = st.context.ip_address
    if not given:
        return ""
    address = ip_address(given.partition("%")[0])
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def visitor_of(connection: HTTPConnection) -> str:
    """Whose connection it is, as far as can be told: of a cookie, or else of an address."""
    return _name(connection.cookies) or (connection.client.host if connection.client else "")


def _name(cookies: Mapping[str, str]) -> str:
    """The name in the cookie if this server has signed it, else nothing."""
    name, _, signature = str(cookies.get(COOKIE, "")).partition(".")
    signed = hmac.compare_digest(signature.encode(), _signature(name).encode())
    return name if signed else ""


def _signature(name: str) -> str:
    return hmac.new(_secret(), name.encode(), hashlib.sha256).hexdigest()[:32]


@cache
def _secret() -> bytes:
    """`IWAE_SECRET`, or what the server has made up and keeps beside the runs, so that they outlive it together."""
    if given := os.environ.get(SECRET):
        return given.encode()
    file = runs_folder() / SECRET_FILE
    try:
        return _kept(file)
    except OSError as error:
        LOGGER.warning("visitors lose their runs when the server ends: no secret in %s (%s)", file, error.strerror)
        return secrets.token_bytes(32)


def _kept(file: Path) -> bytes:
    """The secret in a file, made if there is none. Two servers may come first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{SECRET_FILE}-{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as written:
            written.write(secrets.token_hex(32))
        os.link(new, file)
    except FileExistsError:
        pass
    finally:
        new.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW)) as kept:
        return kept.read().encode()
