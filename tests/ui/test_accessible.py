"""Every page by axe-core, in the light on a wide screen and in the dark on a phone: nothing of ours is in the way."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.pages import settle
from ui.lessons import TITLES

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
PAGES = ("laboratory", "story", "sweep", *TITLES)
# What is Streamlit's own: the rule, the widget it is broken in, and how.
ALLOWED = {
    (
        "list",
        '[data-testid="stSidebarNav"]',
    ): "the menu of pages on a phone groups the lessons by a div inside its list",
    ("listitem", '[data-testid="stSidebarNav"]'): "and so its items are no children of the list",
}


def violations(page: Page) -> Iterator[str]:
    """What axe finds outside the widgets where it is allowed, a line for each element."""
    for found in Axe().run(page).response["violations"]:
        for node in found["nodes"]:
            inside = [
                widget
                for rule, widget in ALLOWED
                if rule == found["id"]
                and page.locator(node["target"][-1]).first.evaluate("(e, w) => !!e.closest(w)", widget)
            ]
            if not inside:
                yield f"{found['id']}: {node['html'][:200]}"


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(open_page: Open, url: str, name: str) -> None:
    page = open_page(f"{url}/{'' if name == 'laboratory' else name}", 1366, 768)
    settle(page)
    expect(page).to_have_title(re.compile(f"{TITLES.get(name, '')} · IWAE laboratory$"))
    assert list(violations(page)) == []
    expect(page.locator(":is(.live-chart, img):not([aria-label], [alt])")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", "dark")
    assert list(violations(page)) == []


@pytest.mark.parametrize("address", ["?projector=on", "watch"])
def test_axe_finds_nothing_in_front_of_a_class(open_page: Open, url: str, address: str) -> None:
    page = open_page(f"{url}/{address}", 1366, 768)
    expect(page.locator(".live-chart .scatterlayer .trace").first).to_be_visible()
    assert list(violations(page)) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    assert list(violations(page)) == []
