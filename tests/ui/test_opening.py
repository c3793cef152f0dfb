"""The opening picture and the story, which live in the browser alone."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from iwae_lab.lessons.same import draw
from iwae_lab.shipped.opening import opening
from iwae_lab.words.numbers import minus
from tests.support.pages import PICTURE, RUN_LINK, SHIFTS
from ui.lessons import same

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
NUMBERS, SLIDER = ".opening-numbers", ".opening-slider"


@pytest.fixture
def calm(browser: Browser, url: str) -> Iterator[Page]:
    """The page of somebody who wants no motion."""
    with browser.new_context(bypass_csp=True, reduced_motion="reduce") as context:
        context.add_init_script(SHIFTS)
        page = context.new_page()
        page.goto(url)
        yield page


def numbers(k: int) -> re.Pattern[str]:
    """What the picture says at k, of the draws that the lesson "Same samples" shows first."""
    shown = opening()
    found = draw(shown.model, shown.digit_class, k, 0)
    return re.compile(
        f"k = {k}: average of the logs {_near(found.elbo)}, log of the average {_near(found.l_k)}, "
        f"log p\\(x\\) {minus(shown.log_p, 2)}"
    )


def _near(value: float) -> str:
    """The draws are rounded to hundredths, so averages may differ by one."""
    return f"({'|'.join(minus(value + change, 2) for change in (-0.01, 0, 0.01))})"


def test_the_lesson_opens_with_the_same_draws() -> None:
    assert same.SETTINGS["same_model"].default == opening().model
    assert same.SETTINGS["same_digit"].default == opening().digit_class


def test_without_motion_it_is_complete_at_once_and_the_keyboard_moves_k(calm: Page) -> None:
    slider = calm.locator(SLIDER)
    expect(calm.locator(NUMBERS)).to_contain_text("k = 5000: average of the logs")
    expect(calm.locator(".opening-caption")).to_contain_text(re.compile(r"settled \d\.\d nats too low"))
    slider.press("Home")
    expect(calm.locator(NUMBERS)).to_contain_text(numbers(1))
    for _ in range(7):
        slider.press("ArrowRight")
    expect(calm.locator(NUMBERS)).to_contain_text(numbers(8))
    assert slider.get_attribute("aria-valuetext") == calm.locator(NUMBERS).text_content()
    # Playing goes in steps.
    calm.get_by_role("button", name="Play", exact=True).click()
    expect(calm.locator(NUMBERS)).to_contain_text("k = 10:")
    expect(calm.locator(NUMBERS)).to_contain_text("k = 20:")
    calm.locator(PICTURE).locator("..").get_by_role("button", name="Pause", exact=True).click()
    # Other draws: other numbers at this k, the same at the last.
    before = calm.locator(NUMBERS).text_content()
    calm.get_by_role("button", name="Redraw").click()
    expect(calm.locator(NUMBERS)).not_to_have_text(before or "")
    # Nothing on the page has jumped while it was loading.
    expect(calm.locator(".live-chart .main-svg").first).to_be_visible()
    assert calm.evaluate("window.shift") < 0.1


def test_it_plays_by_itself_and_can_be_dragged(open_page: Open, url: str) -> None:
    page = open_page(url, width=390, height=844)
    page.wait_for_function(f"/^k = \\d\\d/.test(document.querySelector('{NUMBERS}').textContent)")
    box = page.locator(PICTURE).bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 100)
    page.mouse.down()
    expect(page.locator(NUMBERS)).to_contain_text("k = 5000:")
    page.mouse.up()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_the_story_asks_before_it_tells_and_its_chart_stays_in_view(open_page: Open, url: str) -> None:
    page = open_page(url, width=390, height=844)
    page.goto(f"{url}/story")
    acts, chart = page.locator(".act"), page.locator(".story-chart svg")
    expect(acts).to_have_count(5)
    for number, (answer, said) in enumerate(
        (
            ("Both", "Not so: “Only the log of the average”. More draws leave the average of the logs at −"),
            ("Most of it", "Right. The log of the average closes the gap"),
            ("The IWAE", "Right. Trained on what is closer to log p(x)"),
            ("the same", "Not so: “much lower”. It pays with q"),
            ("Neither", "Press the button"),
        )
    ):
        act = acts.nth(number)
        expect(act.locator(".act-sentence")).to_be_empty()
        act.get_by_role("button", name=answer, exact=True).click()
        expect(act.locator(".act-sentence")).to_contain_text(said)
        box = chart.bounding_box()
        assert box
        assert 0 <= box["y"] < box["y"] + box["height"] < 0.65 * 844
        act.locator(".act-next").click()
    page.wait_for_url(RUN_LINK)
    expect(acts.last.locator(".act-next")).to_contain_text(re.compile("Running|Queued"))
    expect(acts.last.locator(".act-sentence")).to_contain_text("compared after step 100")
    # The laboratory shows the same run.
    page.goto(f"{url}/?run={RUN_LINK.search(page.url)[1]}")  # type: ignore[index]
    page.get_by_role("button", name="Stop", exact=True).click()
