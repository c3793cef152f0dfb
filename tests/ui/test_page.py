"""The laboratory in a real browser: what a visitor sees, presses and keeps."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.pages import (
    APP,
    BOUNDS,
    CURVES,
    FLOW,
    HEADLINE,
    PANEL,
    PICTURE,
    SMALL,
    STATUS,
    button,
    open_settings,
    pick,
    press,
    set_number,
    settle,
    step,
    stop,
    train,
    wait_for_step,
    y_values,
)
from tools.browser import record_requests, serve

pytestmark = pytest.mark.browser
Open = Callable[..., Page]


def settled_size(log: Path) -> int:
    """The size of a log once nothing has been written to it for a second."""
    while time.time() - log.stat().st_mtime < 1:
        time.sleep(0.1)
    return log.stat().st_size


def test_a_first_visitor_sees_the_recorded_experiment(open_page: Open, url: str) -> None:
    page = open_page(url)
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()
    bounds = y_values(page, BOUNDS)
    assert len(bounds) == 4
    for name, values in bounds.items():
        assert len(values) >= 10
        assert (len(set(values)) == 1) == ("ELBO" in name)
    page.wait_for_function(f"{CURVES}?._fullData?.[0]?.x.length > 100")
    assert page.evaluate(f"{BOUNDS}.layout.xaxis.type") == "log"
    dashes = page.evaluate(f"{BOUNDS}.data.filter(trace => trace.name).map(trace => trace.line.dash)")
    assert sorted(dashes) == ["dash", "dash", "solid", "solid"]
    expect(page.get_by_role("img", name="sampled from the prior")).to_have_count(2)
    expect(button(page, "Train")).to_be_enabled()
    expect(button(page, "Stop")).to_have_count(0)  # there is nothing to stop


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1024, 768), (390, 844)])
def test_the_first_screen_holds_the_question_the_answer_the_picture_and_train(
    open_page: Open, url: str, width: int, height: int
) -> None:
    page = open_page(f"{url}/?{SMALL}", width=width, height=height)
    expect(page.locator(HEADLINE)).to_contain_text(re.compile(r"\+0\.\d\d ± 0\.\d\d nats\s+IWAE is ahead of VAE"))
    settle(page)
    first = page.get_by_role("heading", level=1), page.get_by_text("Because it climbs with k."), page.locator(PICTURE)
    for seen in (*first, page.locator(HEADLINE), button(page, "Train")):
        box = seen.bounding_box()
        assert box
        assert 0 <= box["y"] < box["y"] + box["height"] <= height
    # Once something is trained, the charts take the place of the picture.
    press(page, "Train")
    expect(page.locator(PICTURE)).to_have_count(0)
    wait_for_step(page, 1)
    chart = page.locator(".live-chart").first.bounding_box()
    assert chart
    assert chart["y"] + 0.5 * chart["height"] < height
    stop(page)


def test_train_proves_it(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?eval_k=100&eval_images=100&steps=200")
    press(page, "Train")
    expect(page.locator(HEADLINE)).to_contain_text("the same model, to the last digit. They are compared after step")
    expect(page.locator(HEADLINE)).to_contain_text("IWAE is ahead of VAE", timeout=120_000)
    expect(page.locator(HEADLINE)).to_contain_text(re.compile(r"certain since step \d+, \d+\.\d s\. It gave up"))
    stop(page)


def test_another_network_starts_from_random_weights(open_page: Open, url: str) -> None:
    page = open_page(url)
    open_settings(page)
    expect(page.get_by_role("combobox", name="start from")).to_have_value("trained VAE with k = 1")
    pick(page, re.compile("^model"), "two stochastic layers, 100 and 50 units")
    expect(page.get_by_role("combobox", name="start from")).to_have_value("random weights")
    expect(page.get_by_label("images per minibatch", exact=True)).to_have_value("100")
    expect(button(page, "Train")).to_be_enabled()
    pick(page, "start from", "trained VAE with k = 1")
    expect(page.get_by_label("images per minibatch", exact=True)).to_have_value("20")
    expect(page.get_by_role("combobox", name=re.compile("^model"))).to_have_value(re.compile("^one stochastic layer"))


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


@pytest.mark.parametrize("path", ["", "sweep", "digit", "network"])
def test_no_page_does_what_its_policy_forbids(browser: Browser, url: str, path: str) -> None:
    page = browser.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(f"{url}/{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    expect(
        page.locator(".live-chart .main-svg, .live-html table, .sketch canvas, [data-testid=stTable]").first
    ).to_be_visible()
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: '1' }))")
    page.close()
    forbidden = [text for text in told if "Content Security Policy" in text]
    assert len(forbidden) == 1, "the script that was put there, and nothing else"
    assert "script-src" in forbidden[0]


def test_training_from_start_to_stop(open_page: Open, url: str, runs: Path) -> None:
    page = open_page(f"{url}/?{SMALL}")
    experiment = train(page)
    # Four short curves: those of the recorded experiment are long.
    page.wait_for_function(f"{CURVES}._fullData?.length == 4 && {CURVES}._fullData[0].y.length < 300")
    length = len(next(iter(y_values(page, CURVES).values())))
    page.wait_for_function(f"{CURVES}._fullData[0].y.length > {length}")
    expect(page.locator(STATUS)).to_contain_text(re.compile(r"steps/s, .* left"))

    # A zoom survives the updates that follow, on the same DOM node.
    page.evaluate(f"{CURVES}.mark = 1")
    page.evaluate(f"Plotly.relayout({CURVES}, {{'yaxis.range': [-300, -200]}})")
    wait_for_step(page, step(page) + 20)
    assert page.evaluate(f"{CURVES}.layout.yaxis.range") == [-300, -200]
    assert page.evaluate(f"{CURVES}.mark") == 1

    # The space bar pauses.
    page.locator("body").press("Space")
    expect(page.locator(STATUS)).to_contain_text("Paused: step")
    log = runs / experiment / "events.jsonl"
    size = settled_size(log)  # the step in hand when it was pressed is still finished
    held = len([line for line in log.read_text().splitlines() if "Progress" in line])
    wait_for_step(page, held)

    # Moving view k reads other numbers from the same samples: no event is written, no step made.
    table = page.locator(".live-html table").first
    expect(table).to_contain_text("at k = 1,000")
    page.get_by_role("slider", name="view k").press("ArrowLeft")
    expect(table).to_contain_text("at k = 500")
    page.wait_for_function(f"{BOUNDS}?.layout?.shapes?.[0].x0 == 500")
    assert log.stat().st_size == size
    assert step(page) == held

    # A refresh finds the run again, still paused, still mine, and the view as it was.
    page.reload()
    expect(page.locator(STATUS)).to_contain_text("Paused: step")
    expect(page.locator(".live-html table").first).to_contain_text("at k = 500")
    assert step(page) == held
    press(page, "Resume")
    wait_for_step(page, held + 5)
    stop(page)
    expect(button(page, "Train")).to_be_enabled()
    press(page, "Reset")
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()


def test_train_takes_the_numbers_on_the_screen_however_fast_it_is_pressed(open_page: Open, url: str) -> None:
    page = open_page(url)
    for label, value in (("images per minibatch", "2"), ("training steps", "7"), ("seed", "3")):
        set_number(page, label, value)
    # Leaving the field and pressing the button at once: the page has no time to run in between.
    page.get_by_label("training k: samples per image", exact=True).fill("4")
    press(page, "Train")
    expect(page.get_by_text(re.compile(r"VAE.* \(k = 4\).* 7 steps of 2 images, .* seed 3"))).to_be_visible()


def test_any_estimators_on_any_model(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?runs=vae,iwae&model=sbn_1&{SMALL}")
    # What cannot be trained is refused, with what can be: VAE needs continuous latent variables.
    expect(page.get_by_text(re.compile("VAE needs continuous.*choose REINFORCE, LOO in its place"))).to_be_visible()
    expect(button(page, "Train")).to_be_disabled()
    open_settings(page)
    pick(page, "run 1, trained by", "VIMCO")
    pick(page, "run 2, trained by", "RWS, wake")
    page.get_by_role("button", name="Add a run").click()
    pick(page, "run 3, trained by", "Wake-sleep")
    page.get_by_label("own k", exact=True).nth(2).fill("5")
    press(page, "Train")
    page.wait_for_function(f"{BOUNDS}._fullData?.some(trace => trace.name == 'Wake-sleep: ELBO')", timeout=60_000)
    # One legend entry a run, or the legend would crowd out the plot; its title tells solid from dashed.
    assert page.locator(".live-chart").first.locator(".legend .traces").count() == 3
    stop(page)


def test_bounds_move_while_training_and_time_goes_back(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?k=5&batch_size=20&steps=100000&eval_k=50&eval_images=20")
    press(page, "Train")
    page.wait_for_function(f"{BOUNDS}._fullData?.[1]?.x.at(-1) == 50", timeout=120_000)
    first = y_values(page, BOUNDS)
    page.wait_for_function(f"{BOUNDS}._fullData[1].y[0] != {first['VAE: L<sub>k</sub>'][0]}", timeout=120_000)
    later = y_values(page, BOUNDS)
    assert all(later[name] != first[name] for name in first)
    press(page, "Pause")
    expect(page.locator(STATUS)).to_contain_text("Paused: step")

    # The scrubber goes back to the evaluation before the first step, and the address remembers it.
    page.get_by_role("slider", name="Time: evaluation shown").press("Home")
    expect(page.locator(".scrubber output")).to_have_text("step 0")
    page.wait_for_url(re.compile("at=0"))
    line = f"name => JSON.stringify([...{BOUNDS}._fullData.find(trace => trace.name == name + ': L<sub>k</sub>').y])"
    page.wait_for_function(f"(line => line('VAE') == line('IWAE'))({line})")  # all begin with the same weights
    untrained = y_values(page, BOUNDS)
    page.locator("body").press("ArrowRight")  # arrows move through time when nothing else has the keyboard
    page.wait_for_function(f"{BOUNDS}._fullData[1].y[0] != {untrained['VAE: L<sub>k</sub>'][0]}")
    page.get_by_role("button", name="Replay the training").click()
    page.wait_for_function("document.querySelector('.scrubber output').value.includes('latest')")
    press(page, "Stop")


def test_every_plot_axis_and_panel(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?k=5&batch_size=10&steps=40&eval_k=50&eval_images=5&model=one_layer_2d")
    press(page, "Train")
    expect(page.locator(STATUS)).to_contain_text("Completed: step 40", timeout=120_000)
    for label, words in (
        ("One estimate", "nats"),
        ("Gap", "log scale"),
        ("Difference", "nats above"),
        ("Bounds", "nats"),
    ):
        page.get_by_text(label, exact=True).first.click()
        page.wait_for_function(f"{BOUNDS}?.layout?.yaxis.title?.text.includes('{words}')")
        assert y_values(page, BOUNDS)
    steps = page.evaluate(f"{CURVES}._fullData[0].x.at(-1)")
    page.get_by_text("samples", exact=True).click()
    page.wait_for_function(f"{CURVES}._fullData[0].x.at(-1) == {steps} * 50")
    page.get_by_text("Weights", exact=True).click()
    page.wait_for_function(f"{PANEL}?._fullData?.some(trace => trace.type == 'bar')")
    total = page.evaluate(f"{PANEL}._fullData.find(trace => trace.type == 'bar').y.reduce((a, b) => a + b)")
    assert total == pytest.approx(1, abs=1e-3)
    page.get_by_text("Latent plane", exact=True).click()
    page.wait_for_function(f"{PANEL}?._fullData?.some(trace => trace.type == 'contour')")


def test_pointing_at_a_chart_moves_the_others(open_page: Open, url: str) -> None:
    page = open_page(url, height=1400)  # the chart is where a mouse can be
    table = page.locator(".live-html table").first
    expect(table).to_contain_text("at k = 1,000")
    plot = page.locator(".live-chart").first.locator(".nsewdrag")
    box = plot.bounding_box()
    assert box
    left = box["x"] + 0.02 * box["width"], box["y"] + box["height"] / 2
    one = re.compile(r"at k = 1(?!,)")
    page.mouse.move(*left)
    expect(table).to_contain_text(one)
    page.mouse.move(10, 10)
    expect(table).to_contain_text("at k = 1,000")
    page.mouse.move(*left)
    expect(table).to_contain_text(one)
    page.mouse.click(*left)  # a click keeps it
    page.wait_for_url(re.compile("view_k=1"))
    page.wait_for_function(f"{BOUNDS}?.layout?.shapes?.[0].x0 == 1")


def test_step_slow_motion_and_swap(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?k=5&batch_size=4&steps=100000&eval_k=50&eval_images=20")
    press(page, "Train")
    wait_for_step(page, 3)
    press(page, "Pause")
    expect(page.locator(STATUS)).to_contain_text("Paused: step")
    press(page, "Step")
    # A step shows what it did, beside the main chart: k draws of each model and how strongly each is pulled.
    expect(page.locator(FLOW)).to_have_count(10)
    made = step(page)
    press(page, "Step")
    wait_for_step(page, made + 1)
    press(page, "Slow")
    wait_for_step(page, made + 2)
    expect(page.locator(".flow figcaption")).to_contain_text(re.compile(r"VAE pulls as on 5\.0 of 5 draws.*IWAE pulls"))
    page.get_by_role("button", name="Swap", exact=True).click()
    pick(page, "from now on trained by", "DReG")
    page.get_by_role("button", name="Swap now").click()
    expect(page.locator(STATUS)).to_contain_text("in slow motion")
    press(page, "Fast")
    page.wait_for_function(f"{BOUNDS}._fullData.some(trace => /→ DReG/.test(trace.name))", timeout=60_000)
    expect(page.locator(STATUS)).to_contain_text(re.compile(r"IWAE \(k = 5\), from step \d+ DReG \(k = 5\)"))
    stop(page)


def test_an_experiment_of_one_step_completes(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?{SMALL}")
    set_number(page, "training steps", "1")
    train(page)
    expect(page.locator(STATUS)).to_contain_text("Completed: step 1 of 1", timeout=120_000)
    expect(button(page, "Train")).to_be_enabled()


def test_settings_that_cannot_be_combined_are_refused(open_page: Open, url: str) -> None:
    page = open_page(url)
    set_number(page, "training k: samples per image", "5000")
    set_number(page, "images per minibatch", "1000")
    expect(page.get_by_text(re.compile("These settings cannot be trained: .*5,000,000"))).to_be_visible()
    expect(button(page, "Train")).to_be_disabled()
    set_number(page, "images per minibatch", "100")
    expect(button(page, "Train")).to_be_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(open_page: Open, url: str, scheme: str) -> None:
    page = open_page(url, width=390, height=844, scheme=scheme)
    expect(page.locator(".live-html table").first).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    expect(button(page, "Train")).to_be_visible()


def test_a_folder_that_cannot_be_written_is_told_on_the_page(
    open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "file"))
    with serve(APP) as url:
        page = open_page(url)
        press(page, "Train")
        expect(page.get_by_text("runs cannot be kept here (Not a directory); set IWAE_RUNS_DIR")).to_be_visible()


def test_bad_data_are_told_on_the_page(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("IWAE_RUNS_DIR", str(tmp_path / "runs"))
    with serve(APP) as url:
        page = open_page(f"{url}/?{SMALL}")
        train(page)
        expect(page.get_by_text("put the four MNIST files there")).to_be_visible(timeout=120_000)
        expect(button(page, "Train")).to_be_enabled()
