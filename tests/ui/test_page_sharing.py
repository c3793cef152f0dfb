"""Many people, links, examples, the sweep, and what can be taken home, in a real browser."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import iwae_lab.shipped.starts  # noqa: F401 (registers what runs may start from)
from iwae_core.training.spec import ExperimentSpec
from tests.support.pages import (
    BOUNDS,
    RUN_LINK,
    SMALL,
    STATUS,
    button,
    example,
    open_settings,
    press,
    step,
    stop,
    train,
    wait_for_step,
    workers,
    y_values,
)

pytestmark = pytest.mark.browser
Open = Callable[..., Page]


def test_a_class_watches_and_the_owner_controls(open_page: Open, url: str, browser: Browser) -> None:
    owner = open_page(f"{url}/?{SMALL}")
    experiment = train(owner)
    wait_for_step(owner, 3)
    with browser.new_context(bypass_csp=True) as stranger:  # other cookies: somebody else
        watching = stranger.new_page()
        watching.goto(f"{url}/?run={experiment}")
        wait_for_step(watching, 5)
        expect(watching.get_by_text("whoever started it controls it")).to_be_visible()
        for name in ("Pause", "Stop", "Swap", "Reset"):
            expect(watching.get_by_role("button", name=name, exact=True)).to_have_count(0)
        press(owner, "Pause")
        expect(watching.locator(STATUS)).to_contain_text("Paused: step")
        # In class: a link without any control.
        watching.goto(f"{url}/?run={experiment}&hide=controls")
        expect(watching.locator(STATUS)).to_contain_text("Paused: step")
        expect(watching.get_by_label("training k: samples per image")).to_have_count(0)
        expect(button(watching, "Train")).to_have_count(0)
    # The owner goes on in another tab of the same browser.
    second = owner.context.new_page()
    second.goto(f"{url}/?run={experiment}")
    expect(second.locator(STATUS)).to_contain_text("Paused: step")
    press(second, "Resume")
    held = step(second)
    wait_for_step(owner, held + 3)
    press(second, "Stop")
    expect(owner.locator(STATUS)).to_contain_text("Stopped: step")
    second.close()


def test_a_double_click_starts_one_run_and_the_rest_wait_in_line(open_page: Open, url: str, runs: Path) -> None:
    before = len(list(runs.glob("*/spec.json")))
    page = open_page(f"{url}/?{SMALL}")
    button(page, "Train").dblclick()
    page.wait_for_url(RUN_LINK)
    wait_for_step(page, 1)
    assert len(list(runs.glob("*/spec.json"))) == before + 1
    pages = [page]
    while not pages[-1].get_by_text("in line").count():
        assert len(pages) < 20
        pages.append(open_page(f"{url}/?{SMALL}"))
        press(pages[-1], "Train")
        expect(pages[-1].locator(STATUS)).to_contain_text(re.compile("Queued: number 1 in line|Running: step"))
    stop(pages[0])  # a place is free
    wait_for_step(pages[-1], 1)
    for other in pages[1:]:
        stop(other)


@pytest.mark.parametrize(
    "experiment", ["0" * 32, "../../etc/passwd", "%2e%2e%2f", "<script>alert(1)</script>", "x" * 2000]
)
def test_a_stale_or_hostile_link_falls_back_to_the_recording(open_page: Open, url: str, experiment: str) -> None:
    page = open_page(f"{url}/?run={experiment}")
    expect(page.get_by_text("there is no run")).to_be_visible()
    expect(page.get_by_text("Recorded experiment", exact=True)).to_be_visible()
    assert page.locator("script", has_text="alert(1)").count() == 0


def test_a_hostile_address_gives_defaults_and_says_so(open_page: Open, url: str) -> None:
    query = "k=1e9&k=-1&seed=%00&model=<script>alert(1)</script>&runs=" + "vae," * 4000 + "&view_k=%F0%9F%92%A9&x=9"
    page = open_page(f"{url}/?{query}")
    expect(page.get_by_text("k in the address must be a whole number from 1 to 5,000")).to_be_visible()
    for name in ("seed", "model", "runs", "view_k", "x"):
        expect(page.get_by_text(re.compile(f"^{name} in the address must be"))).to_be_visible()
    expect(page.get_by_label("training k: samples per image", exact=True)).to_have_value("50")
    assert page.locator("script", has_text="alert(1)").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def test_settings_travel_in_the_address(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?runs=iwae:k=7,renyi:alpha=0.5&k=9&seed=5&steps=77&words=deep learning&plot=difference")
    open_settings(page)
    expect(page.get_by_label("run 2, trained by")).to_be_visible()
    expect(page.get_by_label("own k").first).to_have_value("7")
    expect(page.get_by_label("alpha")).to_have_value("0.5")
    expect(page.get_by_text("latent code of an image from the encoder")).to_be_visible()
    page.get_by_label("seed", exact=True).fill("6")
    page.get_by_label("seed", exact=True).press("Enter")
    page.wait_for_url(re.compile(r"seed=6"))
    assert "steps=77" in page.url
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_test_id("stCode").first).to_contain_text("seed=6")


def test_files_to_take_home(open_page: Open, url: str) -> None:
    page = open_page(f"{url}/?k=2&batch_size=2&steps=12&eval_k=10&eval_images=10")
    press(page, "Train")
    expect(page.locator(STATUS)).to_contain_text("Completed: step 12", timeout=120_000)
    page.get_by_role("button", name="Take home").click()
    texts = {}
    for label in ("Every number (CSV)", "Specification (JSON)", "Python that repeats it", "The whole experiment"):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        texts[label] = Path(download.value.path()).read_text()
    assert ExperimentSpec.from_json(texts["Specification (JSON)"]).steps == 12
    assert texts["Every number (CSV)"].count("\n") > 12
    assert "iwae_core" in texts["Python that repeats it"]
    assert "<!doctype html>" in texts["The whole experiment"]


def test_an_example_opens_finished_and_train_repeats_it(open_page: Open, url: str) -> None:
    page = open_page(url)
    example(page, "k = 1: the same")
    expect(page.get_by_test_id("stAlert")).to_contain_text("k = 1: the same. With")
    expect(page.get_by_test_id("stAlert")).to_contain_text("Recorded: Train repeats it live.")
    expect(page.get_by_role("button", name="Swap midway")).to_have_count(0)  # the menu has closed
    page.wait_for_function(f"{BOUNDS}?.layout?.shapes?.[0].x0 == 1")
    lines = y_values(page, BOUNDS)
    assert lines["VAE: L<sub>k</sub>"] == lines["IWAE: L<sub>k</sub>"]
    assert not RUN_LINK.search(page.url)
    press(page, "Train")
    page.wait_for_url(RUN_LINK)
    wait_for_step(page, 1)
    expect(page.get_by_test_id("stAlert")).not_to_contain_text("Recorded")
    stop(page)


def test_a_sweep_over_training_k(open_page: Open, url: str) -> None:
    page = open_page(url)
    page.goto(f"{url}/sweep?ks=1,5&seeds=2&batch_size=2&steps=8&eval_k=10&eval_images=10")
    expect(page.get_by_text("Recorded: the models that come with the program, 328,000 steps each")).to_be_visible()
    expect(page.get_by_role("figure", name=re.compile("VAE at k = 1: -91.5, ELBO -9"))).to_be_visible()
    page.get_by_role("button", name="Train the sweep").click()
    page.wait_for_url(re.compile(r"sweep=[0-9a-f]{32}$"))
    table = page.locator(".live-html table")
    expect(table.get_by_text("2 completed")).to_have_count(4, timeout=120_000)
    lines = page.evaluate(
        "Object.fromEntries(document.querySelector('.live-chart-plot')._fullData.map(t => [t.name, [...t.x]]))"
    )
    assert lines["VAE: L<sub>k</sub>"] == lines["IWAE: ELBO"] == [1, 5]
    page.get_by_role("radio", name="28").click()
    expect(page.get_by_text("a sweep of 56 experiments, and you may have 12 unfinished ones here")).to_be_visible()
    expect(page.get_by_role("button", name="Train the sweep")).to_be_disabled()
    page.get_by_role("radio", name="1", exact=True).click()
    expect(page.get_by_role("button", name="Train the sweep")).to_be_enabled()


def test_a_killed_worker_is_replaced_and_the_run_goes_on(open_page: Open, url: str, runs: Path) -> None:
    page = open_page(f"{url}/?{SMALL}")
    before = set(workers(runs))
    experiment = train(page)
    wait_for_step(page, 3)
    busy = [pid for pid in workers(runs) if experiment in _open_files(pid)]
    assert len(busy) == 1, before
    os.kill(busy[0], signal.SIGKILL)
    steps = step(page)
    wait_for_step(page, steps + 20)
    log = (runs / experiment / "events.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in log if line.endswith("}")]
    assert numbers == list(range(len(numbers)))
    stop(page)


def _open_files(pid: int) -> str:
    return " ".join(str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())
