"""Lessons 1 to 4 in a real browser: each opens with a picture, and its main control changes what it should."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tools.browser import record_requests, serve

APP = Path(__file__).parents[1] / "support" / "apps" / "lessons_app.py"
WRONG = {"same": "Both climb", "truth": "The narrow one's", "q": "It stays there", "network": "The VAE's"}
PLOT = "document.querySelectorAll('.live-chart-plot')"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(APP) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []
    errors: list[object] = []

    def open_page(address: str, width: int = 1280, scheme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        page.on("pageerror", lambda error: errors.append(error))
        pages.append(page)
        page.goto(f"{url}/{address}")
        expect(page.locator(".live-chart .main-svg").first).to_be_visible()
        return page

    yield open_page
    for page in pages:
        expect(page.get_by_test_id("stException")).to_have_count(0)
        page.close()
    assert not errors


def move(page: Page, label: str, key: str) -> None:
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    slider.press(key)


def cells(page: Page, row: str) -> list[str]:
    found = page.locator("tr", has_text=row).filter(has=page.locator("td"))
    return found.first.locator("td").all_inner_texts()


def values(page: Page, chart: int, name: str) -> list[float]:
    return page.evaluate(f"Array.from({PLOT}[{chart}]._fullData.find(trace => trace.name === '{name}').y)")


@pytest.mark.parametrize("slug", WRONG)
def test_opens_with_a_picture_and_a_prediction_reveals_numbers(open_page: Callable[..., Page], slug: str) -> None:
    page = open_page(slug)
    expect(page.get_by_role("figure")).not_to_have_count(0)
    for figure in page.get_by_role("figure").all():
        assert len(figure.get_attribute("aria-label") or "") > 20
    page.get_by_text(WRONG[slug], exact=True).click()
    expect(page.get_by_test_id("stAlert")).to_contain_text(re.compile(r"Not so: [\s\S]*\d"))


@pytest.mark.parametrize("slug", WRONG)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(open_page: Callable[..., Page], slug: str, scheme: str) -> None:
    page = open_page(slug, width=390, scheme=scheme)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_the_code_comes_when_it_is_wanted(open_page: Callable[..., Page]) -> None:
    page = open_page("same")
    scripts = record_requests(page)
    page.get_by_text("iwae_core.bounds.lower.iwae_bound", exact=True).click()
    expect(page.get_by_test_id("stCode")).to_contain_text("return log_mean(log_weights)")
    assert any("Highlighter" in script for script in scripts), "what colours code is not loaded before"


def test_same_k_and_the_place_of_the_log(open_page: Callable[..., Page]) -> None:
    page = open_page("same?same_k=1")
    _, now, average, _ = cells(page, "average of logs")
    assert cells(page, "log of average")[1] == now
    assert cells(page, "difference")[1] == "0.000000"
    move(page, "k", "End")
    expect(page.locator("tr", has_text="nats, k = 64")).to_be_visible()
    assert cells(page, "average of logs")[2] == average, "the average of logs does not move"
    assert cells(page, "log of average")[2] != average
    assert cells(page, "difference")[1] == cells(page, "KL(uniform")[1] != "0.000000"
    page.get_by_role("radio", name="log last").click()
    page.wait_for_function(f"{PLOT}[0]._fullData[1].line.dash === 'solid'")
    assert max(values(page, 0, "weights")) == 1
    page.get_by_role("button", name="Redraw", exact=True).click()
    page.wait_for_url(re.compile("same_redraw=1"))
    address = page.url
    drawn = cells(page, "difference")
    assert cells(open_page(address.partition("/same")[2].join(("same", ""))), "difference") == drawn


def test_truth_ratio_and_corrections(open_page: Callable[..., Page]) -> None:
    page = open_page("truth?truth_dims=1&truth_shift=0.0&truth_ratio=0.5")
    assert cells(page, "1,000")[1:] == ["0.0966", "0.0006", "∞"]
    page.get_by_role("button", name="wide, KL 0.097").click()
    expect(page.get_by_role("paragraph").filter(has_text="χ² = 0.1087")).to_be_visible()  # 1.76 / sqrt(2.52) - 1
    page.get_by_role("radio", name="jackknife").click()
    page.wait_for_function(f"{PLOT}[0]._fullData.some(trace => trace.name.startsWith('jackknife 2'))")
    page.wait_for_url(re.compile("truth_correct=jackknife"))


def test_q_jumps_to_both_modes(open_page: Callable[..., Page]) -> None:
    page = open_page("q?q_k=4")
    assert cells(page, "gap of")[1] == "0.700"
    move(page, "k", "ArrowRight")
    expect(page.get_by_text("q = N(0.00, 1.305²)")).to_be_visible()
    assert cells(page, "gap of")[1] == "0.603"
    assert values(page, 1, "q(h | x)")[0] > 0.01
    page.get_by_role("radio", name="my own").click()
    move(page, "mean of q", "ArrowRight")
    page.wait_for_url(re.compile("q_mean=1.34"))


def test_network_keeps_more_of_the_posterior_as_k_grows(open_page: Callable[..., Page]) -> None:
    page = open_page("network?network_k=1")
    assert cells(page, "ELBO of q")[1:] == cells(page, "keep one")[1:]
    move(page, "k", "End")
    expect(page.locator("tr", has_text="k = 200")).to_be_visible()
    for elbo, kept, log_p in zip(
        cells(page, "ELBO of q")[1:], cells(page, "keep one")[1:], cells(page, "log p(x)")[1:], strict=True
    ):
        low, middle, high = (float(text.replace("\u2212", "-")) for text in (elbo, kept, log_p))
        assert low < middle <= high  # as rounded on the page
    page.get_by_role("radio", name="3", exact=True).click()
    page.wait_for_url(re.compile("network_digit=3"))


@pytest.mark.parametrize("address", ["same?same_k=3", "truth?truth_ratio=nan", "q?q_mean=9", "network?network_digit=x"])
def test_what_the_address_may_not_say_is_told(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(address)
    expect(page.get_by_test_id("stAlert").first).to_contain_text("in the address must be")
