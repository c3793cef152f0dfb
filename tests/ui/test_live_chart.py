"""The live chart in a real browser: what the user chose outlives every update, and nothing leaves the machine."""

import gzip
import hashlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from plotly.offline import get_plotlyjs_version
from streamlit.testing.v1 import AppTest

from iwae_lab.figures import plotly_js
from tools.browser import record_requests, serve

APP = Path(__file__).parents[1] / "support" / "apps" / "live_chart_app.py"
PLOT = "document.querySelector('.live-chart-plot')"
PLOTLY_JS = "**/assets/plotly-*.min.js"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(APP) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    errors: list[object] = []
    page.on("pageerror", lambda error: errors.append(error))
    yield page
    page.close()
    assert not errors


def open_chart(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator(".live-chart .scatterlayer .trace")).to_have_count(2)


def wait_for_updates(page: Page, count: int) -> None:
    last = page.evaluate(f"{PLOT}.layout.meta.update") + count
    page.wait_for_function(f"{PLOT}.layout.meta.update >= {last}")


def ranges(page: Page) -> list[list[float]]:
    return page.evaluate(f"[{PLOT}.layout.xaxis.range, {PLOT}.layout.yaxis.range]")


def drag(page: Page, *, updates_meanwhile: int = 0) -> None:
    """Draw a box over the middle of the plot."""
    box = page.locator(".live-chart .nsewdrag").bounding_box()
    assert box
    x, y, width, height = box["x"], box["y"], box["width"], box["height"]
    page.mouse.move(x + 0.3 * width, y + 0.3 * height)
    page.mouse.down()
    page.mouse.move(x + 0.5 * width, y + 0.5 * height, steps=4)
    if updates_meanwhile:
        wait_for_updates(page, updates_meanwhile)
    page.mouse.move(x + 0.7 * width, y + 0.7 * height, steps=4)
    page.mouse.up()


def test_updates_redraw_the_same_node_without_a_blank_frame(page: Page, url: str) -> None:
    open_chart(page, url)
    wait_for_updates(page, 2)  # by then the page has found its width
    page.evaluate(f"""() => {{
        window.seen = {{ plots: new Set(), svgs: new Set(), fewestTraces: Infinity }};
        const look = () => {{
            seen.plots.add({PLOT});
            seen.svgs.add({PLOT}?.querySelector("svg.main-svg"));
            const traces = document.querySelectorAll(".live-chart .scatterlayer .trace path.js-line");
            seen.fewestTraces = Math.min(seen.fewestTraces, traces.length);
            requestAnimationFrame(look);
        }};
        look();
    }}""")
    wait_for_updates(page, 5)
    assert page.evaluate("[seen.plots.size, seen.svgs.size, seen.fewestTraces]") == [1, 1, 2]


@pytest.mark.parametrize("undo", ["double click", "button"])
def test_figures_range_applies_until_the_user_zooms_and_again_after_a_reset(page: Page, url: str, undo: str) -> None:
    open_chart(page, url)
    before, _ = ranges(page)
    wait_for_updates(page, 1)
    assert ranges(page)[0][1] > before[1]

    for _ in range(2):
        drag(page)
        zoomed = ranges(page)
        assert before[0] < zoomed[0][0] < zoomed[0][1] < before[1]
        wait_for_updates(page, 3)
        assert ranges(page) == zoomed

    if undo == "button":
        page.get_by_role("button", name="Reset view").click()
    else:
        page.locator(".live-chart .nsewdrag").dblclick()
    for _ in range(2):
        page.wait_for_function(f"{PLOT}.layout.xaxis.range[1] === 200 + 10 * {PLOT}.layout.meta.update")
        assert ranges(page)[0][0] == 0
        assert ranges(page)[1][0] < -146
        wait_for_updates(page, 1)


@pytest.mark.parametrize("mode", ["Zoom", "Pan"])
def test_an_update_during_a_drag_does_not_break_it(page: Page, url: str, mode: str) -> None:
    open_chart(page, url)
    page.locator(".live-chart-plot").hover()
    page.get_by_role("button", name=mode).click()
    drag(page, updates_meanwhile=2)
    moved = ranges(page)
    assert moved[0][0] > 40 if mode == "Zoom" else moved[0][0] < -40
    wait_for_updates(page, 2)
    assert ranges(page) == moved


def test_legend_choice_survives_updates_and_new_traces(page: Page, url: str) -> None:
    def visible() -> dict[str, bool | str]:
        return page.evaluate(f"Object.fromEntries({PLOT}.data.map(trace => [trace.name, trace.visible ?? true]))")

    open_chart(page, url)
    page.locator(".live-chart .legendtoggle").first.click()
    page.wait_for_function(f"{PLOT}.data[0].visible === 'legendonly'")
    wait_for_updates(page, 2)
    assert visible() == {"VAE, k = 5": "legendonly", "IWAE, k = 5": True}
    page.get_by_text("Reference").click()
    page.wait_for_function(f"{PLOT}.data.length === 3")
    assert visible() == {"log p(x)": True, "VAE, k = 5": "legendonly", "IWAE, k = 5": True}
    page.get_by_text("Reference").click()
    page.wait_for_function(f"{PLOT}.data.length === 2")
    assert visible() == {"VAE, k = 5": "legendonly", "IWAE, k = 5": True}


def test_colours_follow_streamlits_theme_while_the_page_is_open(page: Page, url: str) -> None:
    def colours() -> list[str]:
        return page.evaluate(f"""() => {{
            const css = (node, name) => getComputedStyle(node).getPropertyValue(name);
            const probe = Object.assign(document.createElement("i"), {{ style: "color: var(--st-text-color)" }});
            {PLOT}.append(probe);
            const wanted = css(probe, "color");
            probe.remove();
            const [tick, paper] = [".xtick text", ".main-svg"].map((selector) => {PLOT}.querySelector(selector));
            return [wanted, css(tick, "fill"), css(paper, "background-color")];
        }}""")

    open_chart(page, url)
    light = colours()
    page.emulate_media(color_scheme="dark")
    # There are no ticks at all for a moment, while they are drawn anew.
    tick = f"{PLOT}?.querySelector('.xtick text')"
    page.wait_for_function(f"(light) => {tick} && getComputedStyle({tick}).fill !== light", arg=light[1])
    dark = colours()
    for wanted, tick, paper in light, dark:
        assert tick == wanted
        assert paper == "rgba(0, 0, 0, 0)"


def test_nothing_is_asked_of_the_internet_and_plotly_is_loaded_once(page: Page, url: str) -> None:
    requests = record_requests(page)
    open_chart(page, url)
    page.locator(".live-chart-plot").hover()
    wait_for_updates(page, 2)
    expect(page.get_by_role("toolbar").get_by_role("button")).to_have_count(5)
    addresses = [urlsplit(request) for request in requests if not request.startswith(("blob:", "data:"))]
    assert {address.hostname for address in addresses} == {"127.0.0.1"}
    copies = [Path(address.path) for address in addresses if "plotly" in address.path.lower()]
    assert [copy.parent.name for copy in copies] == ["assets"]


def test_a_missing_plotly_says_so_and_the_chart_recovers(page: Page, url: str) -> None:
    page.route(PLOTLY_JS, lambda route: route.abort())
    page.goto(url)
    expect(page.get_by_text("This chart cannot be shown")).to_be_visible()
    page.unroute(PLOTLY_JS)
    expect(page.locator(".live-chart .scatterlayer .trace")).to_have_count(2)
    expect(page.get_by_text("This chart cannot be shown")).to_have_count(0)


def test_fits_a_phone_and_follows_the_width(page: Page, url: str) -> None:
    open_chart(page, url)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(f"{PLOT}.querySelector('.main-svg').getBoundingClientRect().right <= 390")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_a_finger_on_the_plot_scrolls_the_page(browser: Browser, url: str) -> None:
    with browser.new_context(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        open_chart(page, url)
        box = page.locator(".live-chart .nsewdrag").bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch = context.new_cdp_session(page)
        for kind, points in [
            ("touchStart", [{"x": x, "y": y}]),
            *[("touchMove", [{"x": x, "y": y - 10 * step}]) for step in range(1, 11)],
            ("touchEnd", []),
        ]:
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_function("document.querySelector('[data-testid=stMain]').scrollTop > 0")


def test_description_names_the_figure(page: Page, url: str) -> None:
    open_chart(page, url)
    expect(page.get_by_role("figure", name="Two bounds rise during training.")).to_be_visible()


def test_hidden_chart_is_purged_and_can_come_back(page: Page, url: str) -> None:
    open_chart(page, url)
    page.evaluate(
        "() => { const purge = Plotly.purge; Plotly.purge = (plot) => { window.purged = true; purge(plot); }; }"
    )
    page.get_by_text("Show the chart").click()
    page.wait_for_function("window.purged")
    expect(page.locator(".live-chart")).to_have_count(0)
    page.get_by_text("Show the chart").click()
    expect(page.locator(".live-chart .scatterlayer .trace")).to_have_count(2)


def test_plotly_js_is_compressed_and_kept_and_follows_the_base_path(page: Page) -> None:
    with serve(APP, "--server.baseUrlPath=demo") as url:
        with page.expect_response(PLOTLY_JS) as response:
            open_chart(page, url)
        address = response.value.url
        assert address.startswith(f"{url}/assets/")
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Accept-Encoding": "gzip"})) as answer:
            assert "immutable" in answer.headers["Cache-Control"]
            packed = answer.read()
        with urllib.request.urlopen(address) as answer:
            assert gzip.decompress(packed) == answer.read()
        assert len(packed) < 600_000


def test_plotly_js_is_of_the_version_that_plotly_would_ship() -> None:
    assert get_plotlyjs_version() == plotly_js.VERSION
    assert hashlib.sha256(plotly_js.compressed()).hexdigest() == plotly_js.SHA256
    assert f"plotly.js (cartesian - minified) v{plotly_js.VERSION}" in plotly_js.source()[:200]


def test_the_app_file_runs_its_page_under_app_test() -> None:
    page = AppTest.from_file(str(APP)).run(timeout=30)
    assert not page.exception
    assert page.title[0].value == "Live chart"
