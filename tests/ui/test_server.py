"""The server as a stranger meets it: its names, its headers, its limits, and how it ends."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.error import URLError

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from iwae_core.training.fields import SpecError
from tests.support.running import wait_until
from tests.support.server import HTML, Server, command, server
from tools.browser import ROOT
from tools.server import memory
from ui.demo import demo
from ui.server.door import allowed
from ui.server.settings import ServerSettings, check_settings, server_settings
from ui.visitor import COOKIE

SETTINGS = {
    "IWAE_PAGES": "2",
    "IWAE_REQUEST_SECONDS": "1",
    "IWAE_STALL_SECONDS": "1",
    "IWAE_FRAME_ANCESTORS": "'self' https://course.example.org",
}
STREAM = "/_stcore/stream"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience, bound to this machine's own address."""
    with server(tmp_path_factory.mktemp("strict"), **SETTINGS) as started:
        yield started


@pytest.mark.parametrize("path", ["/", "/sweep", "/_stcore/health", "/static/nothing", "/assets/nothing", "/media/x"])
def test_every_answer_has_the_headers_that_protect(strict: Server, path: str) -> None:
    headers = strict.ask(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["frame-ancestors"] == "'self' https://course.example.org"
    assert policy["default-src"] == "'self'"
    assert "unsafe" not in policy["script-src"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[", "10.0.0.1"]
)
def test_a_server_of_this_machine_answers_to_no_other_name(strict: Server, host: str) -> None:
    answer = strict.ask("/", {"Host": host})
    assert answer.status == 403
    assert "IWAE_HOSTS" in answer.read().decode()
    assert strict.ask("/_stcore/health", {"Host": host}).status == 200, "a probe calls it by any address"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{strict.port}/live", additional_headers={"Host": host}).close()
    assert refused.value.response.status_code in (400, 403)


def test_names() -> None:
    names = "lab.example.org", "*.school.example", "[::1]"
    for host in "lab.example.org", "LAB.example.org:8501", "a.school.example", "b.a.school.example", "[::1]:80":
        assert allowed(host, names)
    for host in "example.org", "school.example", "xlab.example.org", "lab.example.org.evil.example", "::1", "a b":
        assert not allowed(host, names)
    assert allowed("anything", ("*",))


@pytest.mark.parametrize("path", ["/live", STREAM])
def test_no_other_site_reaches_its_sockets(strict: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{strict.port}{path}", origin=Origin("https://evil.example")).close()
    assert refused.value.response.status_code == 403


def test_it_takes_no_files(strict: Server) -> None:
    before = memory(strict.process.pid)
    for size in 1_000, 20_000_000:
        url = f"http://127.0.0.1:{strict.port}/_stcore/upload_file/{'0' * 32}/{'1' * 32}"
        with pytest.raises((URLError, ConnectionError)):  # refused, or hung up on
            urllib.request.urlopen(urllib.request.Request(url, bytes(size), method="PUT"), timeout=60)
    assert memory(strict.process.pid) < before + 50
    assert strict.healthy()


def cookie(strict: Server, **headers: str) -> tuple[str, str]:
    """The value of the cookie that comes with the page, and all of its line."""
    line = strict.ask("/", HTML | headers).headers["Set-Cookie"] or ""
    value = SimpleCookie(line)
    return value[COOKIE].value if COOKIE in value else "", line


def test_a_cookie_of_this_server_is_kept_and_a_forged_one_replaced(strict: Server) -> None:
    mine, line = cookie(strict)
    assert mine
    assert "Secure" not in line
    assert cookie(strict, Cookie=f"{COOKIE}={mine}") == ("", "")
    name, _, signature = mine.partition(".")
    for forged in "0" * 32, f"{'0' * 32}.{signature}", f"{name}.", f"{name}.{'0' * 32}", "." + signature, "ä.ö":
        assert cookie(strict, Cookie=f"{COOKIE}={forged}")[0] not in ("", forged)


def test_a_cookie_is_secure_where_a_trusted_proxy_speaks_https(strict: Server) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    assert "; Secure" in strict.ask("/", HTML | headers).headers["Set-Cookie"]


def test_a_request_that_does_not_arrive_is_not_waited_for(strict: Server) -> None:
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf of it"
    for sent in b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX:", body:
        with strict.connected(sent) as half:
            told = b""
            while part := half.recv(65536):
                told += part
            assert b" 408 " in told or (sent is body and told), sent


def test_a_request_that_trickles_is_not_waited_for_either(strict: Server) -> None:
    with strict.connected(b"GET / HTTP/1.1\r\nX: ") as slow:
        slow.settimeout(0.1)

        def ended() -> bool:
            try:
                slow.sendall(b"y")
                return not slow.recv(100)
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(ended, 20)


def test_who_does_not_read_is_let_go(strict: Server) -> None:
    path = re.search(r"</assets/[^>]+>", strict.ask("/", HTML).headers["Link"])
    assert path
    with strict.connected(f"GET {path[0][1:-1]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), buffer=8192) as slow:
        here = slow.getsockname()[1]

        def gone() -> bool:
            lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
            ends = f":{strict.port:04X}", f":{here:04X}"
            established = [line for line in lines if line[3] == "01"]  # else it is the system that still tries to send
            return not any(line[1].endswith(ends[0]) and line[2].endswith(ends[1]) for line in established)

        assert not gone()
        wait_until(gone, 30)


def test_beyond_the_pages_that_may_be_open_a_page_says_so(strict: Server) -> None:
    address = f"ws://127.0.0.1:{strict.port}{STREAM}"
    with connect(address, subprotocols=["streamlit"]), connect(address, subprotocols=["streamlit"]):  # type: ignore[list-item]
        full = strict.ask("/", HTML)
        assert full.status == 503
        assert "The laboratory is full" in full.read().decode()
        with pytest.raises(InvalidStatus) as refused:
            connect(address).close()
        assert refused.value.response.status_code == 503
        assert strict.healthy()
    wait_until(lambda: strict.ask("/", HTML).status == 200)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IWAE_PAGES", "many"),
        ("IWAE_PAGES", "0"),
        ("IWAE_REQUEST_SECONDS", "nan"),
        ("IWAE_HOSTS", "http://lab.example.org"),
        ("IWAE_FRAME_ANCESTORS", "'self'; script-src *"),
        ("IWAE_SECRET", "short"),
        ("IWAE_SLOTS", "many"),
        ("IWAE_SCHEDULER", "http://scheduler:8786"),
        ("IWAE_DEVICE", "toaster"),
    ],
)
def test_a_setting_that_is_wrong_is_told_in_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        check_settings()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert re.fullmatch(rf"iwae: {name}.*\n", told) or re.fullmatch(rf"iwae: {name[5:].lower()} .*\n", told)


def test_settings_of_the_server() -> None:
    assert server_settings({}) == ServerSettings()
    given = {"IWAE_HOSTS": "Lab.example.org, *.example.org", "IWAE_MESSAGE_KB": "64", "IWAE_FRAME_ANCESTORS": "https:"}
    expected = ServerSettings(message_kb=64, hosts=("lab.example.org", "*.example.org"), frame_ancestors=("https:",))
    assert server_settings(given) == expected
    assert not server_settings({}).code, "on a shared server nobody runs code"
    assert server_settings({"IWAE_CODE": "on"}).code
    with pytest.raises(SpecError, match="IWAE_CODE must be on or off; got 'yes'"):
        server_settings({"IWAE_CODE": "yes"})


@pytest.mark.parametrize(
    ("options", "address", "code"),
    [([], None, "on"), (["--server.address=0.0.0.0"], None, None), ([], "0.0.0.0", None)],
)
def test_only_a_demo_for_this_machine_alone_runs_code(
    options: list[str], address: str | None, code: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ("IWAE_CODE", None), ("STREAMLIT_SERVER_ADDRESS", address):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execv", lambda *_: None)
    demo(options)
    assert os.environ.get("IWAE_CODE") == code


@pytest.mark.parametrize("start", [command(1), [sys.executable, "-m", "iwae_lab", "demo"]], ids=["streamlit", "iwae"])
def test_a_server_with_a_wrong_setting_does_not_start(start: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        start = [option.replace("=1", f"={probe.getsockname()[1]}") if "port" in option else option for option in start]
    monkeypatch.setenv("IWAE_PAGES", "many")
    ended = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.startswith("iwae: IWAE_PAGES ")
    assert ended.stderr.count("\n") == 1


def status(small: Server) -> int:
    """What it answers when asked for the page; 0 if it hangs up at once."""
    try:
        return small.ask("/", HTML).status
    except OSError:
        return 0


def test_few_open_files_are_not_used_up(tmp_path: Path) -> None:
    # 89 connections then, and SPARE more on which it is said that there is no room.
    with server(tmp_path, files=640, IWAE_REQUEST_SECONDS="60") as small, ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(small.connected(b"GET / HTTP/1.1\r\nX: "))
        wait_until(lambda: small.ask("/", HTML).status == 503)
        assert small.healthy()
        for _ in range(700):
            crowd.enter_context(small.connected())
        crowd.close()
        wait_until(lambda: status(small) == 200)
        told = small.log.read_text()
        assert "89 connections at a time" in told
        assert len(told.splitlines()) < 60


def test_sigterm_ends_it_well_whoever_is_connected(tmp_path: Path) -> None:
    with server(tmp_path) as ending:
        assert ending.ask("/", HTML).status == 200
        page = connect(f"ws://127.0.0.1:{ending.port}{STREAM}", subprotocols=["streamlit"])  # type: ignore[list-item]
        live = connect(f"ws://127.0.0.1:{ending.port}/live")
        slow = ending.connected(b"GET /assets/x HTTP/1.1\r\nHost: localhost\r\n")
        with page, live, slow:
            code, seconds = ending.end()
    assert code == 0
    assert seconds < 10
    assert "Traceback" not in ending.log.read_text()


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
def test_sigterm_waits_for_no_idle_tls_connection(tmp_path: Path) -> None:
    subprocess.run(["sh", str(ROOT / "deploy" / "certificates.sh"), str(tmp_path), "localhost"], check=True)
    with server(tmp_path, tls=tmp_path) as ending, ending.connected() as half:  # which does not even shake hands
        assert ending.tls
        half.sendall(b"\x16\x03\x01")
        with ending.tls.wrap_socket(ending.connected()) as idle:
            idle.sendall(b"GET /_stcore/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
            code, seconds = ending.end()  # that the server says goodbye is not answered
    assert code == 0
    assert seconds < 10
    assert "Traceback" not in ending.log.read_text()
