"""The page through the reverse proxy that it is deployed behind, with the very configuration."""

import gzip
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support.running import wait_until
from tests.support.server import HTML, server
from tools.browser import ROOT
from ui.live.hub import unpacked

pytestmark = pytest.mark.skipif(not shutil.which("caddy"), reason="needs the proxy: apt-get install caddy")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_page_through_the_proxy_with_a_certificate_of_its_own(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    certificates = ROOT / "deploy" / "certificates.sh"
    subprocess.run([certificates, tmp_path / "tls", "localhost"], check=True, capture_output=True)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
    port, base = free_port(), "/lab"
    with server(tmp_path, base=base, FORWARDED_ALLOW_IPS="127.0.0.1", IWAE_HOSTS="localhost,127.0.0.1") as page:
        settings = {
            "LAB_HOST": "localhost",
            "LAB_HTTP": str(free_port()),
            "LAB_HTTPS": str(port),
            "LAB_PAGE": f"127.0.0.1:{page.port}",
            "LAB_TLS": f"tls {tmp_path}/tls/localhost.pem {tmp_path}/tls/localhost.key",
            "XDG_DATA_HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
        }
        with (tmp_path / "proxy.log").open("wb") as log:
            caddy = ["caddy", "run", "--adapter", "caddyfile", "--config", str(ROOT / "deploy" / "Caddyfile")]
            proxy = subprocess.Popen(caddy, env=os.environ | settings, stdout=log, stderr=log)
        request.addfinalizer(proxy.wait)
        request.addfinalizer(proxy.kill)

        def ask(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
            asked = urllib.request.Request(f"https://localhost:{port}{base}{path}", headers=headers)
            try:
                answer = urllib.request.urlopen(asked, timeout=60, context=trusting)
            except urllib.error.HTTPError as error:
                return error.code, {}, b""
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()

        def up() -> bool:
            with suppress(urllib.error.URLError):
                return ask("/_stcore/health")[0] == 200
            assert proxy.poll() is None, (tmp_path / "proxy.log").read_text()
            return False

        wait_until(up)
        status, told, content = ask("/", **HTML, **{"Accept-Encoding": "gzip"})
        assert (status, told["content-encoding"]) == (200, "gzip")
        assert b"<title>" in gzip.decompress(content)
        assert "Secure" in told["set-cookie"], "the page knows that it is asked by HTTPS"
        assert told["strict-transport-security"] == "max-age=31536000"
        direct = {name.lower(): value for name, value in page.ask("/", HTML).headers.items()}
        for name in "content-security-policy", "x-content-type-options", "referrer-policy":
            assert told[name] == direct[name], "what the page forbids is forbidden through the proxy"
        for path in "/_stcore/metrics", "/_stcore/script-health-check":
            assert ask(path)[0] == 404
        origin, cookie = f"https://localhost:{port}", told["set-cookie"].partition(";")[0]
        address = f"wss://localhost:{port}{base}"
        with connect(
            f"{address}/live",
            ssl=trusting,
            origin=origin,
            additional_headers={"Cookie": cookie},  # type: ignore[arg-type]
        ) as live:
            look = json.dumps({"part": "status"})
            live.send(json.dumps([look]))
            assert unpacked(bytes(live.recv(timeout=60, decode=False)))[0] == look
        with connect(f"{address}/_stcore/stream", ssl=trusting, origin=origin) as stream:  # type: ignore[arg-type]
            stream.ping().wait(60)
