"""The page in a browser: how its tests start it and what they press."""

import re
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, Page, TimeoutError, expect

from tests.support.running import wait_until

APP = Path(__file__).parents[2] / "app.py"
RUN_LINK = re.compile(r"[?&]run=([0-9a-f]{32})")
# Settings of a run that goes on until it is stopped, and takes little to step and to evaluate.
SMALL = "k=2&batch_size=2&steps=1000000&eval_images=2"
# Charts in the order of the page: against k, training curves, and one of "what the models learned" if it is a chart.
BOUNDS, CURVES, PANEL = (f"document.querySelectorAll('.live-chart-plot')[{index}]" for index in range(3))
PICTURE, FLOW = ".opening-plot", ".flow circle"
STATUS = ".live-html:has(progress)"
HEADLINE = ".live-html .headline"
# Shifts that no press has caused.
SHIFTS = """window.shift = 0;
new PerformanceObserver(list => list.getEntries().forEach(entry => {
  if (!entry.hadRecentInput) window.shift += entry.value;
})).observe({ type: "layout-shift", buffered: true });"""


def open_settings(page: Page) -> None:
    """Bring the settings on the screen, where they are not."""
    settle(page)
    sidebar = page.get_by_test_id("stSidebar")
    if sidebar.get_attribute("data-collapsed") == "true":
        page.get_by_role("button", name="Settings", exact=True).click()
    expect(sidebar).to_have_attribute("data-collapsed", "false")


def pick(page: Page, label: str | re.Pattern[str], option: str) -> None:
    """Choose from a list. One that has come to its place this moment can close again, as when its page scrolls."""
    choice = page.get_by_role("option", name=option, exact=True)

    def is_open() -> bool:
        page.get_by_role("combobox", name=label).click()
        with suppress(TimeoutError):
            choice.wait_for(timeout=5_000)
        return choice.is_visible()

    wait_until(is_open)
    choice.click()


def set_number(page: Page, label: str, value: str) -> None:
    open_settings(page)
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Enter")


def button(page: Page, name: str) -> Locator:
    """A button by what it says."""
    return page.get_by_role("button", name=name, exact=True)


def press(page: Page, name: str) -> None:
    button(page, name).click()


def example(page: Page, label: str) -> None:
    """Choose one of the examples."""
    press(page, "Examples")
    page.get_by_role("button", name=label, exact=True).click()


def settle(page: Page) -> None:
    """Wait until the page's script has come to its end: before, an element can be there twice, new and stale."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def train(page: Page) -> str:
    """Press Train and return the run's id."""
    press(page, "Train")
    page.wait_for_url(RUN_LINK)
    match = RUN_LINK.search(page.url)
    assert match
    return match[1]


def step(page: Page) -> int:
    """The step that the status line shows."""
    text = page.locator(STATUS).inner_text()
    match = re.search(r"step ([\d,]+) of", text)
    assert match, text
    return int(match[1].replace(",", ""))


def wait_for_step(page: Page, least: int) -> None:
    expression = f"document.querySelector('{STATUS}')?.innerText.match(/step ([\\d,]+) of/)?.[1]"
    page.wait_for_function(f"Number(({expression} ?? '0').replaceAll(',', '')) >= {least}", timeout=120_000)


def stop(page: Page) -> None:
    press(page, "Stop")
    expect(page.locator(STATUS)).to_contain_text("Stopped: step")


def y_values(page: Page, plot: str) -> dict[str, list[float]]:
    """The lines of a chart by name."""
    lines = f"{plot}._fullData.filter(trace => trace.name && trace.mode == 'lines' && trace.fill == 'none')"
    return page.evaluate(f"Object.fromEntries({lines}.map(trace => [trace.name, [...trace.y]]))")


def workers(runs: Path) -> list[int]:
    """Worker processes of the server whose runs are kept in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # A worker is told nothing of the server's own settings, so it is known by its parent.
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            environment = Path(f"/proc/{parent}/environ").read_bytes().split(b"\0")
            ours = f"IWAE_RUNS_DIR={runs}".encode() in environment
            if ours and b"iwae_lab.engines.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found
