"""In front of a class: what is projected, what those see who only watch, and a poll between them, in a real browser."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.pages import BOUNDS, SMALL, STATUS, settle, stop, train, wait_for_step

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
# Visible text smaller than 20 pixels; an index may be smaller than what it stands at.
SMALL_TEXT = """() => [...document.querySelectorAll('body *')].filter((e) => {
  const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const { width, height } = e.getBoundingClientRect();
  const { fontSize, visibility } = getComputedStyle(e);
  const index = e.matches('msub > :last-child') || (e.matches('tspan') && e.getAttribute('style')?.includes('70%'));
  return text && width && height && visibility !== 'hidden' && !index && parseFloat(fontSize) < 20
    && !['SCRIPT', 'STYLE'].includes(e.tagName);
}).map((e) => `${e.textContent.trim()} ${getComputedStyle(e).fontSize}`)"""


@pytest.fixture(scope="module")
def student(browser: Browser) -> Iterator[Page]:
    """Somebody else's phone, whose browser heeds the page's own policy."""
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.set_default_timeout(60_000)
        errors: list[object] = []
        page.on("pageerror", lambda error: errors.append(error))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield page
        assert not errors


def test_a_class_predicts_and_is_counted(open_page: Open, url: str, student: Page) -> None:
    teacher = open_page(f"{url}/?{SMALL}&eval_k=100", 1280, 720)
    experiment = train(teacher)
    wait_for_step(teacher, 3)
    teacher.get_by_role("button", name="Project").click()
    expect(teacher.get_by_alt_text("QR code of the link below")).to_be_visible()
    teacher.wait_for_function(f"{BOUNDS}?._fullData?.length")
    settle(teacher)
    assert "projector=on" in teacher.url
    assert teacher.evaluate(SMALL_TEXT) == []
    assert teacher.evaluate("document.documentElement.scrollHeight <= innerHeight"), "everything is on one screen"
    student.goto(f"{url}/watch?run={experiment}")
    expect(student.locator(STATUS)).to_contain_text("Running: step")
    expect(student.locator(".live-chart .main-svg").first).to_be_visible()
    expect(student.locator(".poll")).to_be_empty()
    teacher.get_by_role("button", name="Ask the class").click()
    teacher.get_by_role("button", name="which solid line will be higher at k = 100").click()
    student.get_by_role("button", name="IWAE").click()
    expect(student.get_by_role("button", name="IWAE")).to_have_attribute("aria-pressed", "true")
    expect(teacher.locator(".poll-note")).to_have_text("1 prediction so far.")
    expect(teacher.locator(".poll-bar")).to_have_count(0)
    student.reload()
    expect(student.get_by_role("button", name="IWAE")).to_be_disabled()
    # Whoever has lost their memory of it answers again, and is not counted again.
    student.evaluate("localStorage.clear()")
    student.reload()
    student.get_by_role("button", name="VAE", exact=True).click()
    expect(student.locator(".poll-note")).to_have_text("1 prediction so far.")
    teacher.get_by_role("button", name="Show the counts").click()
    expect(student.locator(".poll li").nth(1)).to_contain_text(re.compile(r"IWAE.*1 \(100 %\)"))
    expect(teacher.locator(".poll li").nth(0)).to_contain_text("0 (0 %)")
    teacher.get_by_role("button", name="Put the poll away").click()
    expect(student.locator(".poll")).to_be_empty()
    teacher.get_by_role("button", name="Controls").click()
    teacher.get_by_role("button", name="Leave the projector").click()
    expect(teacher.get_by_role("button", name="Share")).to_be_visible()
    assert "projector" not in parse_qs(urlsplit(teacher.url).query)
    stop(teacher)
    expect(student.locator(STATUS)).to_contain_text("Stopped: step")


def test_the_watch_page_keeps_what_is_pointed_at_and_survives_a_wrong_address(url: str, student: Page) -> None:
    student.goto(f"{url}/watch?plot=difference&view_k=10&words=deep+learning")
    expect(student.get_by_role("heading", level=2).first).to_have_text("Difference")
    expect(student.locator(".live-html table")).to_contain_text("at k = 10")
    slider = student.get_by_label("Time: evaluation shown")
    expect(slider).to_be_enabled()
    slider.focus()
    slider.press("Home")
    expect(student.locator(".scrubber output")).to_have_text("step 0")
    student.goto(f"{url}/watch?run=<script>alert(1)</script>&view_k=1e9&plot=constructor&at=x")
    expect(student.get_by_text("there is no run").first).to_be_visible()
    expect(student.get_by_role("heading", level=2).first).to_have_text("Bounds")
    assert student.locator("script", has_text="alert(1)").count() == 0
