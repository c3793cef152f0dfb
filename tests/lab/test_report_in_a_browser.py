"""The report as a browser shows it, without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from iwae_lab.take_home.report import report
from tests.support.told import small
from tools.browser import record_requests


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report(small()), encoding="utf-8")
    return path


@pytest.fixture
def open_offline(browser: Browser, file: Path) -> Iterator[Callable[..., Page]]:
    """Opens the report without any network; afterwards, nothing may have been asked for or gone wrong."""
    pages: list[Page] = []
    complaints: list[str] = []
    requests: list[list[str]] = []

    def open_offline(width: int = 1000, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
            offline=True,
        )
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        requests.append(record_requests(page))
        page.goto(file.as_uri())
        return page

    yield open_offline
    for page in pages:
        page.context.close()
    assert complaints == []
    assert requests == [[file.as_uri()]] * len(pages)


SHOWN = "document.querySelector('.plot')._fullData.filter(trace => trace.name).map(trace => Array.from(trace.y).at(-1))"


@pytest.mark.browser
def test_the_report_draws_its_charts_without_a_network(open_offline: Callable[..., Page]) -> None:
    page = open_offline()
    drawn = page.locator(".plot:has(.main-svg .scatterlayer .trace), .plot:has(.main-svg .annotation)")
    expect(drawn).to_have_count(page.locator(".plot").count())  # one says that this log does not tell the spread
    expect(page.locator(".plot").first.locator(".lines path.js-line")).to_have_count(4 + 4)  # lines and bands
    caption = page.locator("figcaption").first
    after = caption.inner_text()
    last = page.evaluate(SHOWN)
    expect(page.locator("output").first).to_have_text("after step 4")
    page.get_by_label("evaluation").first.press("Home")
    expect(page.locator("output").first).to_have_text("after step 0")
    assert caption.inner_text() != after
    assert page.evaluate(SHOWN) != last
    page.get_by_label("evaluation").first.press("End")
    assert caption.inner_text() == after
    assert page.evaluate(SHOWN) == last


@pytest.mark.browser
def test_the_report_is_dark_at_night_and_light_on_paper(open_offline: Callable[..., Page]) -> None:
    page = open_offline(scheme="dark")
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    ink = page.locator(".xtick text").first  # waited for like this: the page's policy forbids a polled script
    expect(ink).to_have_css("fill", "rgb(230, 232, 236)")
    page.emulate_media(media="print")
    expect(ink).to_have_css("fill", "rgb(29, 33, 41)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".plot").first.bounding_box()["width"] < 703, "A4 without its margins is that wide"  # type: ignore[index]
    page.emulate_media(media="screen", color_scheme="light")
    expect(ink).to_have_css("fill", "rgb(29, 33, 41)")


@pytest.mark.browser
def test_the_report_fits_a_phone(open_offline: Callable[..., Page]) -> None:
    page = open_offline(width=320)
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert page.evaluate("document.querySelector('.plot .main-svg').getBoundingClientRect().right") <= 320


@pytest.mark.browser
def test_the_browser_itself_would_refuse_to_load_anything(browser: Browser, file: Path) -> None:
    page = browser.new_page()
    page.goto(file.as_uri())
    refused = "fetch('http://127.0.0.1:1').then(() => 'loaded', error => 'refused')"
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        assert page.evaluate(refused) == "refused"
    page.close()
