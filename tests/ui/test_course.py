"""The lessons as a course, and the functions they show."""

import re
from collections.abc import Callable
from importlib import import_module

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.pages import SHIFTS, settle
from ui.lessons import TITLES
from ui.lessons.frame import source

Open = Callable[..., Page]


@pytest.mark.parametrize("name", TITLES)
def test_code_opens_with_the_function_itself(name: str) -> None:
    for function in import_module(f"ui.lessons.{name}").LESSON.code:
        assert source(function).lstrip().startswith(f"def {function.__name__}(")


@pytest.mark.browser
def test_from_lesson_to_lesson(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/same", 1366, 768)
    settle(page)
    chart = page.locator(".live-chart").first.bounding_box()
    assert chart
    assert chart["y"] + chart["height"] < 768, "the first chart is on the first screen"
    expect(page.get_by_text("Lesson 1 of 9")).to_be_visible()
    expect(page.get_by_role("link", name="Previous")).to_have_count(0)
    page.get_by_text("Both climb", exact=True).click()
    expect(page.get_by_role("img", name="1 of 9 predictions made")).to_be_visible()
    page.get_by_role("link", name=re.compile("Next$")).click()
    expect(page.get_by_role("heading", name="Against the truth")).to_be_visible()
    expect(page.get_by_text("Lesson 2 of 9")).to_be_visible()
    expect(page.get_by_role("img", name="1 of 9 predictions made")).to_be_visible()
    page.get_by_role("combobox", name=re.compile("whose words")).click()
    page.get_by_role("option", name="Deep learning").click()
    expect(page.get_by_text("the true posterior is a standard normal")).to_be_visible()
    page.get_by_role("link", name="Previous").click()
    expect(page.get_by_text("latent code of one digit from the encoder")).to_be_visible()


@pytest.mark.browser
@pytest.mark.parametrize(("name", "width"), [("q", 390), ("words", 683)])
def test_a_lesson_does_not_jump_while_it_loads(browser: Browser, url: str, name: str, width: int) -> None:
    with browser.new_context(bypass_csp=True, viewport={"width": width, "height": 844}) as context:
        context.add_init_script(SHIFTS)
        page = context.new_page()
        page.goto(f"{url}/{name}")
        expect(page.get_by_role("heading", name=TITLES[name])).to_be_visible()
        settle(page)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        expect(page.get_by_role("heading", name="What to notice")).to_be_visible()
        assert page.evaluate("window.shift") < 0.1
