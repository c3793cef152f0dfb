"""The cookie by which a visitor is known again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message

from ui import visitor
from ui.visitor import COOKIE, SECRET_FILE, VisitorCookie, new_cookie

PAGE = {"media_type": "text/html"}
NAVIGATION = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture(autouse=True)
def _a_secret_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "runs"))
    visitor._secret.cache_clear()


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


def kept(cookie: str) -> bool:
    """Whether a browser with this cookie gets no other."""
    return "set-cookie" not in answered(Response("page", **PAGE), NAVIGATION, f"{COOKIE}={cookie}")


def test_a_browser_that_has_one_keeps_it_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = new_cookie()
    assert kept(cookie)
    visitor._secret.cache_clear()  # as another process would begin
    assert kept(cookie)
    assert (tmp_path / "runs" / SECRET_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [SECRET_FILE]
    monkeypatch.setenv("IWAE_SECRET", "another secret of at least sixteen characters")
    visitor._secret.cache_clear()
    assert not kept(cookie)
    assert kept(new_cookie())


def test_a_secret_that_somebody_else_has_put_there_as_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "known").write_text("known to somebody else")
    (tmp_path / "runs" / SECRET_FILE).symlink_to(tmp_path / "known")
    assert visitor._secret() != b"known to somebody else"


def test_without_a_place_for_the_secret_a_visitor_is_known_until_the_server_ends(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("no folder")
    cookie = new_cookie()
    assert kept(cookie)
    visitor._secret.cache_clear()
    assert not kept(cookie)
