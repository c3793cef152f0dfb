"""The pictures in `docs/`, taken anew of the pages as they are: `python -m tools.pictures`."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tools.browser import ROOT, open_browser, serve
from ui.lessons import TITLES

DOCS = ROOT / "docs"
SCREENS = ((1366, 768), (1024, 768), (390, 844))
LESSON = (1280, 800)  # of which the page is as high as it needs
SHOWN = 960  # pixels: as wide as a page of the documentation
QUALITY = 85


def take(page: Page, place: Path, width: int) -> None:
    """Keep what is on the screen, so many pixels wide."""
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    shot.thumbnail((width, shot.height))
    shot.save(place, quality=QUALITY, method=6)


def opened(browser: Browser, url: str, width: int, height: int) -> Page:
    """The page once everything on it is drawn; without motion, so it is finished."""
    page = browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
    page.goto(url)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    for note in page.locator(".live-chart-note").all():
        expect(note).to_be_empty()
    return page


def main() -> None:
    """Take them all."""
    with serve(ROOT / "app.py") as url, open_browser() as browser:
        for width, height in SCREENS:
            take(opened(browser, url, width, height), DOCS / f"first-{width}.webp", width)
        for name in TITLES:
            page = opened(browser, f"{url}/{name}", *LESSON)
            content = page.get_by_test_id("stMainBlockContainer").bounding_box()
            page.set_viewport_size({"width": LESSON[0], "height": int(content["height"]) if content else LESSON[1]})
            take(page, DOCS / "lessons" / f"{name}.webp", SHOWN)


if __name__ == "__main__":
    main()
