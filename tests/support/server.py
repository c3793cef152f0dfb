"""The page's server as a process of its own, to be asked, flooded and ended: what its tests share."""

import os
import resource
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from tools.browser import ROOT

HTML = {"Accept": "text/html"}


@dataclass
class Server:
    """A server that runs, and what it writes."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    base: str = ""  # before every path
    tls: ssl.SSLContext | None = None

    def ask(self, path: str = "/", headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """The answer to a request, whatever its status."""
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.base}{path}"
        request = urllib.request.Request(url, headers=dict(headers or {}))
        try:
            return urllib.request.urlopen(request, timeout=60, context=self.tls)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as answer:
            return answer  # type: ignore[return-value]

    def connected(self, sent: bytes = b"", buffer: int = 0) -> socket.socket:
        """A bare connection on which something has been sent, and whose system keeps so many bytes for it."""
        opened = socket.socket()
        if buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        opened.settimeout(60)
        opened.connect(("127.0.0.1", self.port))
        opened.sendall(sent)
        return opened

    def healthy(self) -> bool:
        """Whether it answers."""
        return self.ask("/_stcore/health").status == 200

    def end(self) -> tuple[int, float]:
        """Its exit code after SIGTERM, and the seconds that takes."""
        begun = time.monotonic()
        self.process.terminate()
        return self.process.wait(timeout=60), time.monotonic() - begun


def command(port: int, *options: str) -> list[str]:
    """What starts the page's server."""
    fixed = f"--server.port={port}", "--server.address=127.0.0.1"
    return [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), *fixed, *options]


@contextmanager
def server(folder: Path, files: int = 0, base: str = "", tls: Path | None = None, **settings: str) -> Iterator[Server]:
    """Start one that keeps runs and its log in a folder, may open so many files, and has these settings.

    `base`, such as `/lab`, comes before every path. With a folder of certificates it speaks TLS.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files // 2, files))

    log = folder / "server.log"
    context = None
    if tls:
        settings |= {"STREAMLIT_SERVER_SSL_CERT_FILE": str(tls / "localhost.pem")}
        settings |= {"STREAMLIT_SERVER_SSL_KEY_FILE": str(tls / "localhost.key")}
        context = ssl.create_default_context(cafile=tls / "ca.pem")
        context.check_hostname = False  # it is called by its address
    environment = os.environ | {"IWAE_RUNS_DIR": str(folder / "runs")} | settings
    with log.open("wb") as written:
        process = subprocess.Popen(
            command(port, f"--server.baseUrlPath={base}"),
            cwd=ROOT,
            env=environment,
            stdout=written,
            stderr=written,
            preexec_fn=limit,
        )
    started = Server(process, port, log, base, context)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if started.healthy():
                    break
            except OSError:
                time.sleep(0.05)
        yield started
    finally:
        process.kill()
        process.wait()
