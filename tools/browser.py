"""A real browser against a real server: what tests and benchmarks share."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]


def find_chromium() -> str | None:
    """Path of the Chromium to drive: $CHROMIUM, else the system's; None means playwright's own."""
    names = (os.environ.get("CHROMIUM"), "/usr/bin/chromium", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium that opens no connection of its own accord."""
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
    expect.set_options(timeout=30_000)  # as long as playwright's other waits: a first page can be slow
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        yield browser
        browser.close()


@contextmanager
def serve(script: Path, *options: str, timeout: float = 60) -> Iterator[str]:
    """Run `script` under `streamlit run` with further command-line `options`; yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fixed = [f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true"]
    fixed += ["--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *fixed, *options]
    base = next((option.split("=")[1] for option in options if option.startswith("--server.baseUrlPath=")), "")
    url = f"http://127.0.0.1:{port}/{base}".rstrip("/")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as server:
        try:
            _wait_until_healthy(server, url, time.monotonic() + timeout)
            yield url
        finally:
            server.terminate()


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, deadline: float) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no healthy server at {url} (exit code {server.poll()})") from error
            time.sleep(0.05)


def record_requests(page: Page) -> list[str]:
    """A list that fills with the URL of every request and web socket that `page` opens from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda socket: urls.append(socket.url))
    return urls
