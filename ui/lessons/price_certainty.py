"""The part of the lesson "The price of a tight bound" that was measured in training: what a certain lead costs."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.training.spec import RunSpec
from iwae_lab.figures.marks import COLOURS
from iwae_lab.lessons.certainty import LOOKS, VAE, Amount, Measured, Row, experiment, measured, median
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.proof import PROOF
from iwae_lab.words.glossary import say
from iwae_lab.words.templates import template
from ui.settings import address

HEAD = ("steps", "{draws}", "seconds")


def certainty(dialect: str) -> None:
    """The table and what it means, if it was measured for the model that is shipped."""
    if stored := measured():
        st.header("The price of certainty", anchor=False)
        st.markdown(say(meaning(stored), dialect))
        st.html(table(stored, dialect))
        st.caption(say(how(stored), dialect))


def meaning(stored: Measured) -> str:
    """What the numbers say, in two sentences."""
    rows = {(row.run.estimator, row.run.k): row for row in stored.rows}
    more, few, iwae, many = rows["vae", 500], *(rows["iwae", k] for k in (5, 50, 500))
    ahead = sum(found.certain for found in more.found) or "none"
    one = rows["iwae_one_sample", 50]
    return (
        f"A VAE with k = {more.run.k} takes ten times the {{draws}} of one with k = {VAE.k}, and was certainly ahead "
        f"of it in {ahead} of {len(more.found)} trainings: an average of logs is the same bound at any k, and more "
        "{draws} only make it less noisy. With the log of the average, certainty came after "
        f"{_told(few)} with k = 5, {_told(iwae)} with 50 and {_told(many)} with 500, since more {{draws}} save fewer "
        "steps than they cost; going backwards through one {draw} of 50 makes a step cheaper and noisier, and took "
        f"{_steps(one)} steps ({_told(one)}) instead of {_steps(iwae)}."
    )


def how(stored: Measured) -> str:
    """How the numbers came about."""
    steps = manifest()[stored.model]["step"]
    return (
        f"Each run goes on from the same VAE ({steps:,} steps old), beside a VAE with k = {VAE.k}, in minibatches of "
        f"{PROOF.batch_size}. Both are evaluated every {stored.every} steps on {PROOF.eval_images} held-out images. "
        f"The lead in $L_{{{PROOF.eval_k}}}$ is certain, by the rule of the laboratory, from the first of {LOOKS} "
        f"evaluations in a row that find it so. Median of {len(stored.rows[0].found)} seeds, in brackets the least and "
        "the greatest; > where training ended without. Seconds are processor time for the run’s own gradients on one "
        f"core ({stored.processor}, {stored.date}). The laboratory’s clock counts both runs and their evaluations, "
        "which come less often there."
    )


def table(stored: Measured, dialect: str) -> str:
    """A row for each run, as HTML."""
    longest = max(each.value for each in map(_seconds, stored.rows) if each.certain)
    rows = [_row(row, longest) for row in stored.rows]
    head = [say(name, dialect) for name in HEAD]
    return template("ui/lessons/price_certainty.html.jinja").render(head=head, rows=rows, colour=COLOURS[0])


def link(run: RunSpec) -> str:
    """The laboratory, about to train the run against the VAE."""
    query = urlencode(address(experiment(run)))
    return f"./?{query}" if query else "./"


def _row(row: Row, longest: float) -> dict[str, Any]:
    middle = _seconds(row)
    cells = (
        _spread(row.steps(), "{:,.0f}".format),
        _spread(row.samples(), "{:,.0f}".format),
        _spread(row.seconds(), "{:,.1f}".format),
    )
    return {
        "name": f"{ESTIMATORS[row.run.estimator].label}, k = {row.run.k}",
        "cells": cells,
        "percent": round(100 * min(1, middle.value / longest)),
        "certain": middle.certain,
        "link": link(row.run),
    }


def _seconds(row: Row) -> Amount:
    return median(row.seconds())


def _told(row: Row) -> str:
    return f"{_seconds(row).value:.1f} s"


def _steps(row: Row) -> str:
    return f"{median(row.steps()).value:,.0f}"


def _spread(amounts: list[Amount], number: Callable[[float], str]) -> str:
    """The median, with the least and the greatest; without any certain lead how far the trainings went at least."""
    least, middle, greatest = (
        number(each.value) if each.certain else f"> {number(each.value)}"
        for each in (amounts[0], median(amounts), amounts[-1])
    )
    return f"{middle} ({least}–{greatest})" if amounts[0].certain else least
