"""What an address says is shown as it is, never as Markdown: by Streamlit's own renderer, in a browser."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, BrowserContext, expect

from tools.browser import record_requests, serve

pytestmark = pytest.mark.browser
SHOWN = Path(__file__).parents[1] / "support" / "apps" / "markdown_app.py"
PICTURE, LINK = "![x](http://h.example/a.png)", "[Sign in](http://h.example)"
PIECES = [PICTURE, LINK, "<http://h.example>", "https://h.example/?a=b_c_d", "www.h.example", "WWW.h.example"]
PIECES += ["me@h.example", "xmpp:me@h.example", "<img src=x onerror=alert(1)>", "$x$", "$$x$$", ":red[x]", "`c`"]
PIECES += [
    ":material/star:",
    "**b**",
    "_i_",
    "~~s~~",
    "[^1]",
    "[a]: http://h.example",
    "# ",
    "- ",
    "1. ",
    "> ",
    "| a |",
]
PIECES += ["\n", "\n\n", "    ", "\\", "&lt;", "&#33;", "a", " ", "---", "\N{WORD JOINER}", "ä", "\0"]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
# Elements that a text without any meaning is made of.
FOUND = """alerts => alerts.map(alert => [
    alert.innerText,
    [...alert.querySelectorAll("*")].map(each => each.tagName).filter(name => !["DIV", "P", "BR"].includes(name))
])"""


@pytest.fixture(scope="module")
def shown(browser: Browser) -> Iterator[Callable[[list[str]], list[tuple[str, list[str]]]]]:
    with serve(SHOWN) as url:
        page = browser.new_page()

        def show(texts: list[str]) -> list[tuple[str, list[str]]]:
            page.goto(f"{url}/?texts={quote(json.dumps(texts))}")
            expect(page.get_by_role("heading", name="end")).to_be_visible()
            return page.get_by_test_id("stMarkdownContainer").filter(has_not=page.locator("h1")).evaluate_all(FOUND)  # type: ignore[no-any-return]

        yield show
        page.close()


def letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "5")))
@given(st.lists(TEXTS, min_size=40, max_size=40))
@example(PIECES)
@example([piece + other for piece in ("http://a.example/", "a@b.example ", "\\", "(") for other in PIECES])
def test_nothing_in_it_has_a_meaning(
    shown: Callable[[list[str]], list[tuple[str, list[str]]]], texts: list[str]
) -> None:
    found = shown(texts)
    assert [tags for _, tags in found if tags] == []
    assert [letters(text) for text, _ in found] == [letters(text) for text in texts]


@pytest.mark.parametrize("path", ["/", "/sweep", "/price"])
def test_a_link_brings_no_picture_and_no_link_of_its_own(context: BrowserContext, url: str, path: str) -> None:
    names = ("run", "sweep", "k", "words", "plot", "ks", "runs", "swaps")
    page = context.new_page()
    requests = record_requests(page)
    page.goto(f"{url}{path}?" + "&".join(f"{name}={quote(PICTURE + LINK)}" for name in names))
    alerts = page.get_by_test_id("stAlert")
    expect(alerts.filter(has_text="Sign in").first).to_be_visible()
    assert alerts.locator("a, img").count() == 0
    assert not [address for address in requests if "h.example/" in address.partition("?")[0]]
    page.close()
