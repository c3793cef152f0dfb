"""Fixtures for every test."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from iwae_core.training.process import prepare_process
from tests.support.pages import APP, workers
from tools.browser import open_browser, serve

# The same examples every time, and no time limit for each: the machine may be busy.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def _settings_of_a_training_process() -> None:
    """Several threads on a busy two-core machine are many times slower than one."""
    prepare_process()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the whole session; open a context or page of it per test."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server that tests share keeps its runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def url(runs: Path) -> Iterator[str]:
    """The program's own page: each test ends the runs it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IWAE_RUNS_DIR", str(runs))
        with serve(APP) as url:
            yield url
    deadline = time.monotonic() + 15
    while workers(runs):
        assert time.monotonic() < deadline, "closing the app must leave no process behind"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """What pages share: a cache, so that a page appears sooner than to a first visitor."""
    with browser.new_context(bypass_csp=True) as context:  # waiting for an expression evaluates text in the page
        yield context


@pytest.fixture
def open_page(context: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open pages of one visitor, who keeps cookies until the test ends; no page may meet an error of its own."""
    errors: list[object] = []

    def open_page(url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.on("pageerror", lambda error: errors.append(error))  # a built-in method cannot be a handler
        page.goto(url)
        expect(page.locator(".live-chart .main-svg, .terms, .story-chart").first).to_be_visible()
        return page

    yield open_page
    for page in context.pages:
        page.evaluate("localStorage.clear()")  # whether the settings are open
        page.close()
    context.clear_cookies()
    assert not errors
