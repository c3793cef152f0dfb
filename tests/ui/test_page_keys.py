"""What the keyboard, the browser's Back and a finger do on the page; how it looks where there is little room."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.pages import BOUNDS, RUN_LINK, SMALL, STATUS, settle, train, wait_for_step

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
# What is cut off, because its own box or one around it is too narrow and does not show the rest; dots would say so.
CUT = """[...document.querySelectorAll('.stMain *')].filter(e => e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0
    && getComputedStyle(e).overflowX !== 'visible' && getComputedStyle(e).clipPath === 'none'
    && getComputedStyle(e).textOverflow !== 'ellipsis' && !e.closest('svg'))
    .map(e => `${e.className}: ${e.innerText}`)"""
SHIFT = """new Promise((told) => { let sum = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (!entry.hadRecentInput) sum += entry.value; })).observe({ type: "layout-shift", buffered: true });
    requestAnimationFrame(() => setTimeout(() => told(sum))); })"""


def test_the_space_bar_presses_what_has_the_keyboard_and_holds_a_run_if_nothing_has(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?{SMALL}")
    settle(page)
    page.get_by_role("button", name="Take home").press("Space")
    expect(page.get_by_role("button", name="Every number (CSV)")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("body").press("Space")
    settle(page)
    assert not RUN_LINK.search(page.url), "the space bar starts no run"
    train(page)
    wait_for_step(page, 1)
    page.get_by_role("button", name="Stop", exact=True).press("Space")
    expect(page.locator(STATUS)).to_contain_text("Stopped: step")


def test_back_takes_back_one_change(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?at=0")
    settle(page)
    page.get_by_role("radio", name="Gap", exact=True).click()
    page.wait_for_url(re.compile("plot=gap"))
    page.get_by_role("slider", name="view k").press("ArrowLeft")
    page.wait_for_url(re.compile("view_k=500"))
    page.go_back()
    expect(page.get_by_role("slider", name="view k")).to_have_attribute("aria-valuetext", "1000")
    assert "plot=gap" in page.url
    page.go_back()
    expect(page.get_by_role("heading", name="Bounds against k")).to_be_visible()
    assert "plot" not in page.url
    page.go_forward()
    expect(page.get_by_role("heading", name="Gap of each bound")).to_be_visible()


def test_pointing_at_the_training_curves_moves_the_time_slider_too(open_page: Open, url: str) -> None:
    page = open_page(url)
    told = page.locator(".scrubber output")
    expect(told).to_have_text("step 1,000 (latest)")
    plot = page.locator(".live-chart").nth(1).locator(".nsewdrag")
    plot.hover(position={"x": 3, "y": 40})
    expect(told).to_have_text("step 0")
    page.mouse.move(2, 2)
    expect(told).to_have_text("step 1,000 (latest)")


def test_a_tap_pins_and_its_box_goes(browser: Browser, url: str) -> None:
    with browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, bypass_csp=True
    ) as context:
        page = context.new_page()
        page.goto(url)
        plot = page.locator(".live-chart").first.locator(".nsewdrag")
        settle(page)
        plot.tap(position={"x": 80, "y": 100})
        page.wait_for_url(re.compile(r"view_k=\d\d?$"))
        expect(page.locator(".live-html table").first).to_contain_text(f"at k = {page.url.partition('view_k=')[2]}")
        expect(page.locator(".hoverlayer .legend")).to_have_count(0)


@pytest.mark.parametrize("width", [1024, 683])
def test_nothing_is_cut_and_little_moves_while_the_page_comes(open_page: Open, url: str, width: int) -> None:
    page = open_page(f"{url}/?plot=gap", width, 768)
    expect(page.locator(".live-html table")).to_be_visible()
    settle(page)
    page.wait_for_function(f"{BOUNDS}?._fullData?.length > 2")
    assert page.evaluate(CUT) == []
    assert page.evaluate(SHIFT) < 0.1
