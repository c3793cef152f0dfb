"""The main flows in a second browser engine: Firefox draws, trains, pauses, goes back and takes a drawing."""

from collections.abc import Iterator

import pytest

from tests.support.firefox import FOUND, Firefox, firefox
from tests.support.pages import BOUNDS

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not FOUND, reason="there is no Firefox")]
STATUS = "document.querySelector('.live-html:has(progress)')?.innerText ?? ''"
SPACE = " "


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with firefox(tmp_path_factory.mktemp("firefox")) as fox:
        yield fox


def button(name: str) -> str:
    """The button that says this and can be pressed."""
    return (
        f"[...document.querySelectorAll('button:enabled')].find((found) => found.innerText.trim().endsWith('{name}'))"
    )


def test_firefox_trains(fox: Firefox, url: str) -> None:
    fox.open(f"{url}/?k=2&batch_size=2&steps=1000000&eval_k=10&eval_images=10")
    fox.wait_for(f"{BOUNDS}?._fullData?.length > 4")
    fox.click(button("Train"))
    fox.wait_for(f"/Running: step [1-9]/.test({STATUS})")
    fox.value("document.activeElement.blur()")
    fox.press(SPACE)
    fox.wait_for(f"/Paused: step/.test({STATUS})")
    fox.click(button("Stop"))
    fox.wait_for(f"/Stopped: step/.test({STATUS})")


def test_firefox_goes_back_and_shows_a_lesson(fox: Firefox, url: str) -> None:
    fox.open(f"{url}/truth")
    fox.wait_for(f"{BOUNDS}?._fullData?.length > 2")
    told = "document.querySelectorAll('.live-chart')[1]?.ariaLabel ?? ''"
    fox.click(button("wide, KL 0.097"))
    fox.wait_for(f"/q has 1.76 times/.test({told}) && location.search.includes('truth_ratio=1.76')")
    fox.value("history.back()")
    fox.wait_for(f"/q has 1.50 times/.test({told}) && !location.search.includes('truth_ratio')")


def test_firefox_takes_a_drawing_by_keyboard(fox: Firefox, url: str) -> None:
    fox.open(f"{url}/digit")
    fox.wait_for("document.querySelector('.sketch canvas')")
    fox.value("document.querySelector('.sketch canvas').focus()")
    for key in (SPACE, *["\ue015"] * 8, SPACE):  # arrow down
        fox.press(key)
    fox.wait_for("/digit_x=[\\w-]{131}/.test(location.search)")
