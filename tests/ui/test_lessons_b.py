"""The lessons on gradients, discrete latents, one's own digit and model, and words: each main control is moved."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tools.browser import serve
from ui import settings
from ui.lessons import digit, discrete, own_model, price, words

APP = Path(__file__).parents[1] / "support" / "apps" / "lessons_b_app.py"
LESSONS = (price, discrete, digit, own_model, words)
BROWSER = pytest.mark.browser


@pytest.mark.parametrize("module", LESSONS, ids=lambda module: module.LESSON.slug)
def test_settings_have_names_of_their_own_and_defaults_that_parse(module: Any) -> None:
    lesson = module.LESSON
    others = {name for other in LESSONS if other is not module for name in other.LESSON.settings}
    assert not set(lesson.settings) & (set(settings.ALL) | others)
    for setting in lesson.settings.values():
        assert setting.parse(str(setting.default)) == setting.default
    assert 0 <= lesson.right < len(lesson.answers)
    assert lesson.reveal()


def test_what_no_address_may_ask_for() -> None:
    for module, name, text in (
        (price, "price_estimators", "iwae,iwae"),
        (price, "price_estimators", "vimco"),
        (price, "price_estimators", ""),
        (price, "price_dims", "500"),
        (price, "price_k", "3"),
        (discrete, "discrete_estimator", "iwae"),
        (discrete, "discrete_k", "17"),
        (digit, "digit_x", "10"),
        (digit, "digit_x", "../../etc/passwd"),
        (digit, "digit_x", "A" * 132),
        (digit, "digit_k", "1000000"),
        (own_model, "own_prior", "__import__"),
        (own_model, "own_x", "nan"),
        (words, "words_find", "x" * 41),
    ):
        with pytest.raises(ValueError, match=r"."):
            module.LESSON.settings[name].parse(text)


def test_the_way_to_the_laboratory() -> None:
    wanted = dict(part.split("=") for part in discrete.LABORATORY.removeprefix("./?").replace("%2C", ",").split("&"))
    for name, text in wanted.items():
        settings.ALL[name].parse(text)
    assert wanted["model"] == "sbn_1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(APP) as url:
        yield url


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []
    errors: list[object] = []

    def open_page(address: str, width: int = 1280) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("pageerror", lambda error: errors.append(error))
        pages.append(page)
        page.goto(f"{url}/{address}")
        expect(page.locator(".live-chart .main-svg, .terms").first).to_be_visible(timeout=120_000)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors


def lines(page: Page, chart: int = 0) -> list[str]:
    plot = f"document.querySelectorAll('.live-chart-plot')[{chart}]"
    page.wait_for_function(f"{plot}?._fullData?.length")
    found: list[str] = page.evaluate(f"{plot}._fullData.map(trace => trace.name)")
    return found


@BROWSER
@pytest.mark.parametrize("module", LESSONS, ids=lambda module: module.LESSON.slug)
def test_a_phone_scrolls_down_only(open_page: Callable[..., Page], module: Any) -> None:
    page = open_page(module.LESSON.slug, width=390)
    expect(page.get_by_role("heading", name=module.LESSON.title, exact=True)).to_be_visible()
    expect(page.get_by_text("What to notice")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") == 390


@BROWSER
def test_a_prediction_is_answered(open_page: Callable[..., Page]) -> None:
    page = open_page("price")
    page.get_by_text("It grows like √k").click()
    expect(page.get_by_text("Not so: “It fades like 1/√k”.")).to_be_visible()


@BROWSER
def test_price(open_page: Callable[..., Page]) -> None:
    page = open_page("price?price_estimators=iwae,iwae_one_sample&price_k=256")
    assert lines(page) == ["IWAE", "IWAE, one sample"]
    row = page.get_by_role("row", name=re.compile("^IWAE, one sample "))
    expect(row).to_contain_text("258")
    page.get_by_role("radio", name="a trained network, measured").click()
    expect(page.get_by_text("repeated 160 times with fresh noise")).to_be_visible()
    page.get_by_role("radio", name="a toy, exact").click()
    expect(page.get_by_role("link", name="Train VAE against")).to_have_count(7)
    link = page.get_by_role("link", name="Train VAE against IWAE, k = 5", exact=True)
    assert link.get_attribute("href") == "./?runs=vae%2Ciwae%3Ak%3D5"
    page.get_by_role("radio", name="unit of work").click()
    page.wait_for_url(re.compile("price_per=unit"))
    slider = page.get_by_role("slider", name="latent dimensions")
    slider.press("ArrowRight")
    page.wait_for_url(re.compile("price_dims=6"))


@BROWSER
def test_discrete(open_page: Callable[..., Page]) -> None:
    page = open_page("discrete?discrete_k=5")
    expect(page.get_by_text("VIMCO at k = 5").first).to_contain_text("no bias. Total variance 0.206")
    page.get_by_role("radio", name="dropped").click()
    expect(page.get_by_text("VIMCO at k = 5").first).to_contain_text("off by up to 0.278")
    page.get_by_role("radio", name="RWS, wake").click()
    expect(page.get_by_text("RWS, wake at k = 5").first).to_contain_text("off by up to 0.044")
    page.wait_for_url(re.compile("discrete_estimator=rws"))
    link = page.get_by_role("link", name="Train a sigmoid belief network on MNIST")
    assert re.search("model=sbn_1", link.get_attribute("href") or "")


@BROWSER
def test_own_model(open_page: Callable[..., Page]) -> None:
    page = open_page("own_model?own_link=h&own_x=1.0&own_scale=0.5")
    # N(1; 0, 1 + 0.25) in nats.
    expect(page.get_by_text("log p(x) = −1.431").first).to_be_visible()
    assert lines(page)[:3] == ["posterior", "q", "one kept of 10"]
    before = page.get_by_text("These 10").first.inner_text()
    page.get_by_role("button", name="Other draws").click()
    page.wait_for_url(re.compile("own_seed=1"))
    expect(page.get_by_text("These 10").first).not_to_have_text(before)


@BROWSER
def test_own_model_says_what_cannot_be_fitted(open_page: Callable[..., Page]) -> None:
    page = open_page("own_model?own_q=two+normals")
    expect(page.get_by_text("choose VIMCO in its place")).to_be_visible()


@BROWSER
def test_words(open_page: Callable[..., Page]) -> None:
    page = open_page("words?words_quiz=7")
    expect(page.get_by_text("question 7")).to_be_visible()
    page.get_by_role("button", name="Next term").click()
    expect(page.get_by_text("question 8")).to_be_visible()
    page.get_by_label("Find a term").fill("encoder")
    page.get_by_label("Find a term").press("Enter")
    expect(page.get_by_text("2 of 51 terms")).to_be_visible()
    page.wait_for_url(re.compile("words_find=encoder"))
