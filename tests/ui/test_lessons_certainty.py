"""The table of the price of certainty: its numbers, and links that bring back the experiment of their row."""

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest

from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.lessons.certainty import RUNS, Found, Measured, Row, experiment
from iwae_lab.words.glossary import Dialect
from ui.lessons.price_certainty import how, link, meaning, table
from ui.settings import EXPERIMENT, asked_for

NEVER = (Found(False, 100, 21.2), Found(False, 100, 20.3), Found(False, 100, 24.0))
SOON = (Found(True, 40, 1.04), Found(True, 20, 0.5), Found(True, 60, 1.5))
MIXED = (Found(True, 40, 1.04), Found(False, 1000, 30.4), Found(True, 60, 1.5))
FOUND = {RUNS[0]: NEVER, RUNS[-1]: MIXED}
STORED = Measured(tuple(Row(run, FOUND.get(run, SOON)) for run in RUNS), 10, "vae_k1", "a processor", "2026-01-01")


def cells(html: str) -> list[list[str]]:
    """The text of every cell, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [
        [unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows
    ]


def opened(href: str) -> ExperimentSpec:
    """The experiment that the laboratory asks for at an address."""
    given = dict(parse_qsl(urlsplit(href).query, strict_parsing=True)) if "?" in href else {}
    values = {
        name: setting.parse(given.pop(name)) if name in given else setting.default
        for name, setting in EXPERIMENT.items()
    }
    assert not given
    return asked_for(values)


def test_every_run_has_a_row_of_its_numbers() -> None:
    head, *rows = cells(table(STORED, Dialect.DEEP_LEARNING))
    assert head == ["goes on as", "steps", "samples", "seconds", "median seconds", "live"]
    names = [
        "VAE, k = 500",
        "IWAE, k = 5",
        "IWAE, k = 50",
        "IWAE, k = 500",
        "DReG, k = 50",
        "STL, k = 50",
        "IWAE, one sample, k = 50",
    ]
    assert [row[0] for row in rows] == names
    assert rows[0][1:4] == ["> 100", "> 1,000,000", "> 20.3"]
    assert rows[1][1:4] == ["40 (20–60)", "4,000 (2,000–6,000)", "1.0 (0.5–1.5)"]
    assert rows[6][1:4] == ["60 (40–> 1,000)", "60,000 (40,000–> 1,000,000)", "1.5 (1.0–> 30.4)"]
    assert "draws" in cells(table(STORED, Dialect.STATISTICS))[0]


def test_bars_are_as_long_as_their_medians_and_open_where_there_is_no_end() -> None:
    bars = re.findall(r'<div style="width: (\d+)%"( class="open")?>', table(STORED, Dialect.STATISTICS))
    # Seconds: 1.04 of at most 1.5; the VAE's last longer than any.
    assert bars == [("100", ' class="open"'), *[("69", "")] * 5, ("100", "")]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.estimator}-{run.k}")
def test_a_link_brings_back_the_experiment_of_its_row(run: RunSpec) -> None:
    assert opened(link(run)) == experiment(run)
    hrefs = [unescape(href) for href in re.findall('href="(.*?)"', table(STORED, Dialect.STATISTICS))]
    assert hrefs[RUNS.index(run)] == link(run)


def test_how_it_was_measured() -> None:
    text = how(STORED)
    for part in ("every 10 steps on 150 held-out images", "Median of 3 seeds", "(a processor, 2026-01-01)"):
        assert part in text


def test_what_it_means() -> None:
    text = meaning(STORED)
    assert "certainly ahead of it in none of 3 trainings" in text
    assert "after 1.0 s with k = 5, 1.0 s with 50 and 1.0 s with 500" in text
    assert "took 60 steps (1.5 s) instead of 40." in text
