"""The whole page in a real browser: what a visitor sees, presses and keeps."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import record_requests, serve
from playwright.sync_api import Browser, Page, expect

APP = Path(__file__).parents[1] / "app.py"
RUN_LINK = re.compile(r"[?&]run=([0-9a-f]{32})")
# Charts in the order of the page: bounds against k, training curves.
BOUNDS, CURVES = (f"document.querySelectorAll('.live-chart-plot')[{index}]" for index in range(2))

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def url(runs: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IWAE_RUNS_DIR", str(runs))
        with serve(APP) as url:
            yield url
    deadline = time.monotonic() + 5
    while workers(runs):
        assert time.monotonic() < deadline, "closing the app must leave no process behind"
        time.sleep(0.05)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []
    errors: list[object] = []

    def open_page(url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
        page.on("pageerror", lambda error: errors.append(error))  # a built-in method cannot be a handler
        pages.append(page)
        page.goto(url)
        expect(page.locator(".live-chart .main-svg").first).to_be_visible()
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not errors


def workers(runs: Path) -> list[int]:
    """Worker processes of the server whose runs are kept in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"IWAE_RUNS_DIR={runs}".encode() in (process / "environ").read_bytes().split(b"\0")
            if ours and b"iwae_core.engines.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def set_number(page: Page, label: str, value: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(value)
    field.press("Enter")


def train(page: Page, k: int = 2, batch: int = 2, steps: int = 1_000_000) -> str:
    """Choose small numbers, press Train and return the run's id."""
    set_number(page, "training k: samples per image", str(k))
    set_number(page, "images per minibatch", str(batch))
    set_number(page, "training steps", str(steps))
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url(RUN_LINK)
    match = RUN_LINK.search(page.url)
    assert match
    return match[1]


def step(page: Page) -> int:
    text = page.get_by_text(re.compile(r"^(Running|Paused|Stopped|Completed): step")).inner_text()
    return int(re.sub(r"\D", "", text.partition(" of ")[0]))


def wait_for_step(page: Page, least: int) -> None:
    expression = "document.querySelector('[data-testid=stProgress]')?.innerText.match(/step ([\\d,]+) of/)?.[1]"
    page.wait_for_function(f"Number(({expression} ?? '0').replaceAll(',', '')) >= {least}", timeout=120_000)


def settled_size(log: Path) -> int:
    """The size of a log once nothing has been written to it for a second."""
    while time.time() - log.stat().st_mtime < 1:
        time.sleep(0.1)
    return log.stat().st_size


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped: step")).to_be_visible()


def y_values(page: Page, plot: str) -> dict[str, list[float]]:
    lines = f"{plot}._fullData.filter(trace => trace.name && trace.mode == 'lines' && trace.fill == 'none')"
    return page.evaluate(f"Object.fromEntries({lines}.map(trace => [trace.name, [...trace.y]]))")


def choose(page: Page, *estimators: str) -> None:
    """Replace what is chosen in "trained by"."""
    box = page.get_by_test_id("stMultiSelect")
    box.get_by_role("button", name="Clear all").click()
    for label in estimators:
        box.get_by_role("combobox").fill(label)
        page.get_by_role("option", name=label, exact=True).click()
        expect(box.get_by_text(label, exact=True)).to_be_visible()


def test_train_takes_the_numbers_on_the_screen_however_fast_it_is_pressed(
    open_page: Callable[..., Page], url: str
) -> None:
    page = open_page(url)
    for label, value in (("images per minibatch", "2"), ("training steps", "7"), ("seed", "3")):
        set_number(page, label, value)
    # Leaving the field and pressing the button at once: the page has no time to run in between.
    field = page.get_by_label("training k: samples per image", exact=True)
    field.fill("4")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text(re.compile(r"VAE \(k = 4\).* 7 steps of 2 images, .* seed 3"))).to_be_visible()


def test_any_estimators_on_any_model(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(url)
    page.get_by_label("model", exact=True).click()
    page.get_by_role("option", name="sigmoid belief network, 200 binary units").click()
    # What cannot be trained is refused, with what can be: VAE needs continuous latent variables.
    expect(page.get_by_text(re.compile("vae needs continuous.*Use estimator='reinforce_loo'"))).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    choose(page, "VIMCO", "RWS, wake", "Wake-sleep")
    train(page)
    page.wait_for_function(f"{BOUNDS}._fullData?.some(trace => trace.name == 'Wake-sleep: ELBO')")
    assert list(y_values(page, BOUNDS)) == [
        f"{label}: {bound}" for label in ("VIMCO", "RWS, wake", "Wake-sleep") for bound in ("L<sub>k</sub>", "ELBO")
    ]
    # One legend entry a run, or the legend would crowd out the plot.
    assert page.locator(".live-chart").first.locator(".legend .traces").count() == 3
    table = page.locator(".stMarkdown table").first
    column = table.locator("xpath=ancestor::*[@data-testid='stColumn'][1]")
    inner, outer = table.bounding_box(), column.bounding_box()
    assert inner
    assert outer
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
    stop(page)


def test_a_first_visitor_sees_the_recorded_experiment(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(url)
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()
    bounds = y_values(page, BOUNDS)
    assert len(bounds) == 4
    for name, values in bounds.items():
        assert len(values) >= 10
        assert (len(set(values)) == 1) == ("ELBO" in name)
    assert all(len(values) > 100 for values in y_values(page, CURVES).values())
    assert page.evaluate(f"{BOUNDS}.layout.xaxis.type") == "log"
    dashes = page.evaluate(f"{BOUNDS}.data.filter(trace => trace.name).map(trace => trace.line.dash)")
    assert sorted(dashes) == ["dash", "dash", "solid", "solid"]
    expect(page.get_by_role("img", name="sampled from the prior")).to_have_count(2)
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_disabled()


def test_no_request_leaves_the_machine(browser: Browser, url: str) -> None:
    page = browser.new_page()
    requests = record_requests(page)
    page.goto(url)
    expect(page.locator(".live-chart .main-svg").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.close()
    outside = [r for r in requests if urlsplit(r).hostname != "127.0.0.1" and not r.startswith(("data:", "blob:"))]
    assert outside == []
    assert len(requests) > 10


def test_training_from_start_to_stop(open_page: Callable[..., Page], url: str, runs: Path) -> None:
    page = open_page(url)
    run_id = train(page)
    # Four short curves: those of the recorded experiment are long.
    page.wait_for_function(f"{CURVES}._fullData?.length == 4 && {CURVES}._fullData[0].y.length < 300")
    first = y_values(page, CURVES)
    assert len(first) == 4
    length = len(next(iter(first.values())))
    page.wait_for_function(f"{CURVES}._fullData[0].y.length > {length}")
    expect(page.get_by_text(re.compile(r"steps/s, .* left"))).to_be_visible()

    # A zoom survives the updates that follow, on the same DOM node.
    page.evaluate(f"{CURVES}.mark = 1")
    page.evaluate(f"Plotly.relayout({CURVES}, {{'yaxis.range': [-300, -200]}})")
    wait_for_step(page, step(page) + 20)
    assert page.evaluate(f"{CURVES}.layout.yaxis.range") == [-300, -200]
    assert page.evaluate(f"{CURVES}.mark") == 1

    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.get_by_text("Paused: step")).to_be_visible()
    log = runs / run_id / "events.jsonl"
    size = settled_size(log)  # the step in hand when Pause was pressed is still finished
    held = len([line for line in log.read_text().splitlines() if "Progress" in line])
    wait_for_step(page, held)

    # Moving view k reads other numbers from the same samples: no event is written, no step made.
    table = page.locator(".stMarkdown table")
    before = table.inner_text()
    page.get_by_role("slider").press("ArrowLeft")
    expect(table).to_contain_text("at k = 500")
    assert table.inner_text() != before
    assert page.evaluate(f"{BOUNDS}.layout.shapes[0].x0") == 500
    assert log.stat().st_size == size
    assert step(page) == held

    # A refresh finds the run again, still paused.
    page.reload()
    expect(page.get_by_text("Paused: step")).to_be_visible()
    assert step(page) == held
    page.get_by_role("button", name="Resume", exact=True).click()
    wait_for_step(page, held + 5)
    stop(page)
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Show the recorded experiment", exact=True).click()
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()


def test_bounds_move_while_training(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(url)
    train(page, k=50, batch=100)
    page.wait_for_function(f"{BOUNDS}._fullData?.[1]?.x.at(-1) == 1000", timeout=120_000)
    first = y_values(page, BOUNDS)
    page.wait_for_function(f"{BOUNDS}._fullData[1].y[0] != {first['VAE: L<sub>k</sub>'][0]}", timeout=120_000)
    later = y_values(page, BOUNDS)
    assert all(later[name] != first[name] for name in first)
    stop(page)


def test_an_experiment_of_one_step_completes(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(url)
    train(page, steps=1)
    expect(page.get_by_text("Completed: step 1 of 1")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()


def test_a_double_click_starts_one_run_and_a_full_machine_says_so(
    open_page: Callable[..., Page], url: str, runs: Path
) -> None:
    before = len(list(runs.iterdir()))
    first = open_page(url)
    set_number(first, "training steps", "1000000")
    first.get_by_role("button", name="Train", exact=True).dblclick()
    first.wait_for_url(RUN_LINK)
    wait_for_step(first, 1)
    assert len(list(runs.iterdir())) == before + 1
    pages = [first]
    full = "experiments are already training here"
    while not pages[-1].get_by_text(full).count():
        assert len(pages) < 20
        pages.append(open_page(url))
        pages[-1].get_by_role("button", name="Train", exact=True).click()
        expect(pages[-1].get_by_text(full).or_(pages[-1].get_by_text("Running: step"))).to_be_visible()
    expect(pages[-1].get_by_text("Recorded experiment", exact=True)).to_be_visible()
    for page in pages[:-1]:
        stop(page)


def test_settings_that_cannot_be_combined_are_refused(open_page: Callable[..., Page], url: str) -> None:
    page = open_page(url)
    set_number(page, "training k: samples per image", "5000")
    set_number(page, "images per minibatch", "1000")
    expect(page.get_by_text("k times batch_size must be at most 500,000; got 5,000,000")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    set_number(page, "images per minibatch", "100")
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()


@pytest.mark.parametrize("run_id", ["0" * 32, "../../etc/passwd", "<script>alert(1)</script>", "x" * 2000])
def test_a_stale_or_hostile_link_falls_back_to_the_recording(
    open_page: Callable[..., Page], url: str, run_id: str
) -> None:
    page = open_page(f"{url}/?run={run_id}")
    expect(page.get_by_text("there is no run")).to_be_visible()
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()
    assert page.locator("script", has_text="alert(1)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(open_page: Callable[..., Page], url: str, scheme: str) -> None:
    page = open_page(url, width=390, height=844, scheme=scheme)
    expect(page.locator(".stMarkdown table")).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_in_viewport()


def test_a_folder_that_cannot_be_written_is_told_on_the_page(
    open_page: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "file"))
    with serve(APP) as url:
        page = open_page(url)
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.get_by_text("runs cannot be kept here (Not a directory); set IWAE_RUNS_DIR")).to_be_visible()


def test_bad_data_are_told_on_the_page(
    open_page: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "runs"))
    with serve(APP) as url:
        page = open_page(url)
        train(page)
        expect(page.get_by_text("put the four MNIST files there")).to_be_visible(timeout=120_000)
        expect(page.get_by_role("button", name="Train", exact=True)).to_be_enabled()
