"""The lesson "Your own digit": drawings become observations as MNIST's did; what models make of them; the page."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from iwae_core.data import DATASETS
from iwae_core.evaluation.held_out import log_weights
from iwae_lab.lessons import digit
from iwae_lab.lessons.digit import ODD, PAPER, PEN, STARTS, decoded, encoded, image, judge, normalised, rasterise
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.models import digits, load
from tools.browser import serve

MODELS = names("one_layer")
APP = Path(__file__).parents[1] / "support" / "apps" / "lessons_b_app.py"
LINE = [(0.2, 0.5), (0.8, 0.5)]


@pytest.fixture(scope="module")
def mnist() -> np.ndarray:
    images: np.ndarray = DATASETS["mnist"]().test[:300].reshape(-1, 28, 28).numpy()
    return images


def test_what_mnist_made_already_stays_as_it_is(mnist: np.ndarray) -> None:
    for grey in mnist:
        assert np.array_equal(normalised(grey), grey)


def test_a_large_digit_anywhere_on_the_paper_becomes_mnists_own(mnist: np.ndarray) -> None:
    for index, grey in enumerate(mnist[:40]):
        paper = np.zeros((900, 800), np.uint8)
        large = np.kron(grey, np.ones((20, 20), np.uint8))
        paper[7 * index : 7 * index + 560, 5 * index : 5 * index + 560] = large
        assert np.array_equal(normalised(paper), grey)


@pytest.mark.parametrize(("rows", "columns", "height", "width"), [(200, 50, 20, 5), (30, 300, 2, 20), (1, 1, 20, 20)])
def test_the_box_keeps_its_proportions_and_its_middle_is_that_of_the_image(
    rows: int, columns: int, height: int, width: int
) -> None:
    ink = np.zeros((400, 500), np.uint8)
    ink[10 : 10 + rows, 90 : 90 + columns] = 255
    found = normalised(ink)
    assert (np.ptp(np.argwhere(found), axis=0) + 1).tolist() == [height, width]
    assert np.abs(np.argwhere(found).mean(0) - 14).max() <= 0.5
    assert set(np.unique(found)) == {0, 255}


def test_a_grey_is_the_share_of_ink_in_a_pixel() -> None:
    board = (np.indices((400, 400)).sum(0) % 2 * 255).astype(np.uint8)
    found = normalised(board)
    assert set(np.unique(found)) <= {0, 127, 128}
    assert np.count_nonzero(found) == 400


@pytest.mark.parametrize("name", ODD)
def test_the_centre_of_mass_is_within_half_a_pixel_of_the_middle(name: str) -> None:
    found = normalised(rasterise(ODD[name])).astype(float)
    rows, columns = np.indices((28, 28))
    assert abs((rows * found).sum() / found.sum() - 14) <= 0.5
    assert abs((columns * found).sum() / found.sum() - 14) <= 0.5


def test_centring_cuts_no_ink() -> None:
    ink = np.zeros((200, 200), np.uint8)
    ink[:60, :60] = 255  # nearly all mass in one corner of the box
    ink[199, 199] = 255
    found = normalised(ink)
    assert found.astype(float).sum() == pytest.approx((3600 + 1) * 255 / 100, rel=0.01)
    assert found[0].any() or found[-1].any()


def test_nothing_drawn_is_told_in_words() -> None:
    for strokes in ([], [[]], [[(3.0, 3.0)]]):
        with pytest.raises(ValueError, match="the drawing is empty: draw something"):
            digit.observed(strokes)


def test_the_pen_is_round() -> None:
    dot, line = rasterise([[(0.5, 0.5)]]), rasterise([LINE])
    area = math.pi * (PEN / 2) ** 2
    assert np.count_nonzero(dot) / PAPER**2 == pytest.approx(area, rel=0.05)
    assert np.count_nonzero(line) / PAPER**2 == pytest.approx(0.6 * PEN + area, rel=0.05)
    assert set(np.unique(line)) == {0, 255}
    rows, columns = np.nonzero(line)
    assert (rows.mean() / PAPER, columns.mean() / PAPER) == pytest.approx((0.5, 0.5), abs=0.01)
    assert np.array_equal(rasterise([LINE[:1], LINE]), line)


@pytest.mark.parametrize(
    ("strokes", "message"),
    [([LINE] * 201, "at most 200 strokes"), ([LINE * 10_001], "20,000 points; got 1 and 20,002")]
    + [([[(value, 0.5)]], "two numbers") for value in (math.nan, math.inf)],
)
def test_drawings_that_no_page_sends_are_refused(strokes: list[list[tuple[float, float]]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rasterise(strokes)


def test_points_far_off_the_paper_do_no_harm() -> None:
    assert not rasterise([[(1e300, -1e300), (1e300, 1e300)]]).any()


def test_an_observation_is_one_draw_from_the_greys() -> None:
    strokes = ODD["spiral"]
    found, grey = digit.observed(strokes), normalised(rasterise(strokes)).flatten() / 255
    assert np.array_equal(found, digit.observed(strokes))
    assert found[grey == 1].all()
    assert not found[grey == 0].any()
    assert abs((found - grey).sum()) < 4 * math.sqrt((grey * (1 - grey)).sum())


@given(st.binary(min_size=98, max_size=98))
def test_an_address_brings_back_every_pixel(content: bytes) -> None:
    pixels = np.unpackbits(np.frombuffer(content, np.uint8)).astype(bool)
    text = encoded(pixels)
    assert re.fullmatch(r"[A-Za-z0-9_-]{131}", text)
    assert np.array_equal(decoded(text), pixels)


def test_the_first_pixel_comes_first() -> None:
    pixels = np.zeros(784, bool)
    assert encoded(pixels) == "A" * 131
    pixels[0] = pixels[6 + 5] = True
    assert encoded(pixels) == "gB" + "A" * 129


@pytest.mark.parametrize(
    "text",
    ["", "A" * 130, "A" * 132, "A" * 130 + "B", "A" * 131 + "=", "+" * 131, "A" * 130 + "é", "A" * 130 + "\n"],
)
def test_other_texts_are_no_drawing(text: str) -> None:
    with pytest.raises(ValueError, match="131 characters of base64url"):
        decoded(text)


@given(st.text(max_size=140))
def test_no_text_does_worse_than_being_refused(text: str) -> None:
    if text not in STARTS:
        with pytest.raises(ValueError, match="131 characters"):
            image(text)


def test_drawings_to_choose_from() -> None:
    assert STARTS[:10] == tuple("0123456789")
    for index in range(10):
        assert np.array_equal(image(str(index)), digits()[index].numpy() == 1)
    assert len({encoded(image(name)) for name in STARTS}) == len(STARTS)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("drawing", ["3", "spiral"])
def test_bounds_and_weights_belong_together(name: str, drawing: str) -> None:
    found = judge(name, drawing)
    weights = found.log_weights
    assert found.elbo == pytest.approx(weights.mean())
    assert found.l_k[0] == pytest.approx(found.elbo)
    assert found.l_k[-1] == pytest.approx(math.log(np.exp(weights - weights.max()).mean()) + weights.max())
    assert (np.diff(found.l_k) >= 0).all()
    shares = np.exp(weights[:20] - weights[:20].max())
    shares = np.sort(shares / shares.sum())[::-1]
    assert found.shares(20) == pytest.approx(shares)
    assert found.ess(20) == pytest.approx(1 / (shares**2).sum())
    x = torch.from_numpy(image(drawing))[None].float()
    others = log_weights(load(name), x, 2000, seed=9)[:, 0].numpy()
    error = math.hypot(others.std() / math.sqrt(2000), weights.std() / math.sqrt(1000))
    assert found.elbo == pytest.approx(others.mean(), abs=4 * error)


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_gives_back_is_its_mean_at_the_mean_of_q(name: str) -> None:
    model, x = load(name), digits()[3:4]
    with torch.no_grad():
        mean, _ = model.recognition.layers[0].network(x)
        logits = model.generative.layers[-1].network(mean)
    wanted = 255 * torch.sigmoid(logits)[0].numpy()
    assert judge(name, "3").reconstruction.astype(float) == pytest.approx(wanted, abs=0.51)


@pytest.mark.parametrize("name", MODELS)
def test_what_the_lesson_says_of_odd_drawings(name: str) -> None:
    common, odd = ([judge(name, start) for start in starts] for starts in (STARTS[:10], ODD))
    evidence = [np.mean([each.l_k[-1] for each in part]) for part in (common, odd)]
    gaps = [np.mean([each.l_k[-1] - each.elbo for each in part]) for part in (common, odd)]
    assert evidence[1] < evidence[0] - 50
    assert gaps[1] > 1.5 * gaps[0]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(APP) as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.close()
    assert not errors


def visit(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".live-chart .main-svg").first).to_be_visible()
    expect(page.get_by_text("What to notice")).to_be_visible()


def stroke(page: Page, points: list[tuple[float, float]]) -> None:
    box = page.locator(".sketch canvas").bounding_box()
    assert box
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def drawing(page: Page) -> str:
    """The text of the drawing in the address; empty for the first digit."""
    return (re.findall("digit_x=([^&]*)", page.url) or [""])[0]


def row(page: Page) -> list[str]:
    return page.locator("tbody tr").first.locator("td").all_inner_texts()


@pytest.mark.browser
def test_the_page_judges_what_is_drawn_and_the_link_brings_it_back(page: Page, url: str) -> None:
    visit(page, f"{url}/digit")
    first = judge(MODELS[0], "3")
    assert row(page)[1] == f"\u2212{-first.l_k[-1]:.1f}"
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    stroke(page, [(0.2, 0.2), (0.8, 0.2), (0.45, 0.9)])
    page.wait_for_url(re.compile(r"digit_x=[\w-]{131}"))
    seven, numbers = drawing(page), row(page)
    found = judge(MODELS[0], seven)
    assert numbers[1:3] == [f"\u2212{-found.l_k[-1]:.1f}", f"{found.l_k[-1] - found.elbo:.1f}"]
    wanted = image(seven)
    drawn = digit.observed([[(0.2, 0.2), (0.8, 0.2), (0.45, 0.9)]])
    assert np.count_nonzero(wanted != drawn) < 40, "the page's drawing is the core's, but for a few pixels at edges"
    visit(page, f"{url}/digit?digit_x={seven}")
    assert row(page) == numbers
    expect(page.get_by_text("Draw here")).to_be_visible()


@pytest.mark.browser
def test_strokes_can_be_taken_back_and_a_drawing_chosen_without_a_pointer(page: Page, url: str) -> None:
    visit(page, f"{url}/digit")
    stroke(page, [(0.2, 0.2), (0.8, 0.2), (0.45, 0.9)])
    page.wait_for_url(re.compile(r"digit_x=[\w-]{131}"))
    one = drawing(page)
    stroke(page, [(0.3, 0.55), (0.8, 0.55)])
    page.wait_for_function("before => !location.href.includes(before)", arg=one)
    two = drawing(page)
    assert two != one
    page.get_by_role("button", name="Undo").press("Enter")
    page.wait_for_url(re.compile(one))
    page.get_by_role("button", name="Clear").press("Enter")
    expect(page.get_by_text("Test digit 3 is shown: the drawing is empty")).to_be_visible()
    page.wait_for_function("!location.href.includes('digit_x')")
    stroke(page, [(0.5, 0.1), (0.5, 0.9)])
    expect(page.get_by_text("Test digit 3 is shown")).to_be_hidden()
    page.get_by_role("radio", name="spiral").press("Space")
    page.wait_for_url(re.compile("digit_x=spiral"))
    expect(page.get_by_text("Draw here")).to_be_visible()
    assert row(page)[1] == f"\u2212{-judge(MODELS[0], 'spiral').l_k[-1]:.1f}"


@pytest.mark.browser
def test_a_finger_draws_too(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 900}, has_touch=True)
    page = context.new_page()
    visit(page, f"{url}/digit")
    paper = page.locator(".sketch canvas")
    paper.scroll_into_view_if_needed()
    assert paper.evaluate("paper => getComputedStyle(paper).touchAction") == "none"
    paper.tap()
    page.wait_for_url(re.compile(r"digit_x=[\w-]{131}"))
    assert 250 < image(drawing(page)).sum() < 350, "a dot fills a circle in the box of 20 pixels"
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("text", ["B" * 131, "%3Cscript%3Ealert(1)%3C%2Fscript%3E"])
def test_a_hostile_address_is_refused_in_words(page: Page, url: str, text: str) -> None:
    visit(page, f"{url}/digit?digit_x={text}")
    expect(page.get_by_test_id("stAlert").first).to_contain_text("digit_x in the address must be one of 0, 1, 2")
    assert row(page)[1] == f"\u2212{-judge(MODELS[0], '3').l_k[-1]:.1f}"
