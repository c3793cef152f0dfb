"""Why the page's first experiment has the settings it has: `python -m benchmarks.choice`.

Each of other minibatches, learning rates and numbers of images is trained with each seed in this process, and the first
evaluation counts from which on the lead of the IWAE stays certain to the end: the step, and the processor time until
then for each of the two runs, which train side by side where there are two cores. `--write` keeps every number.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from math import inf
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.stored import Stored
from iwae_core.training.events import Record
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.history.history import History
from iwae_lab.history.verdict import verdicts
from iwae_lab.shipped.proof import PROOF
from iwae_lab.words.numbers import markdown, minus

STORED = Path(__file__).with_name("choice.json")
# Batch, learning rate, held-out images: round the settings of the proof, one of them changed at a time.
CHOICES = (
    *((20, rate, PROOF.eval_images) for rate in (2.5e-5, 5e-5, 1e-4, 3e-4)),
    *((batch, rate, PROOF.eval_images) for batch in (50, 100) for rate in (5e-5, 1e-4, 3e-4)),
    *((20, PROOF.learning_rate, images) for images in (50, 100, 400)),
)


class Tried(NamedTuple):
    """One training: since when the IWAE was certainly ahead, None if it was not, and the lead in the end in nats."""

    batch: int
    rate: float
    images: int
    seed: int
    step: int | None
    seconds: float | None  # of a processor, for each run
    lead: float
    stderr: float


def tried(spec: ExperimentSpec) -> Tried:
    """Train once."""
    history, began = History(), time.process_time()
    for number, event in enumerate(train(spec)):
        history.extend([Record(number, (time.process_time() - began) / len(spec.runs), event)])
    (verdict,) = verdicts(history)
    since = verdict.since if verdict.lead.mean > 0 else None
    when = (since.step, round(since.seconds, 2)) if since else (None, None)
    lead = (round(float(part), 4) for part in verdict.lead)
    return Tried(spec.batch_size, spec.learning_rate, spec.eval_images, spec.seed, *when, *lead)


def specs(seeds: int, steps: int) -> Iterator[ExperimentSpec]:
    """Every choice with every seed."""
    for seed in range(seeds):
        for batch, rate, images in CHOICES:
            yield replace(PROOF, batch_size=batch, learning_rate=rate, eval_images=images, seed=seed, steps=steps)


def table(found: Sequence[Tried]) -> str:
    """A row for each choice, medians over the seeds, in which what was not found counts as the latest; Markdown."""
    head = ("batch", "learning rate", "images", "certain", "since step", "processor, s", "lead in the end, nats")
    rows = []
    for choice, group in groupby(sorted(found), key=lambda each: each[:3]):
        of = list(group)
        certain = [each for each in of if each.step is not None]
        since, seconds = (median(inf if each[place] is None else each[place] for each in of) for place in (4, 5))
        lead = minus(median(each.lead for each in of), 2, "+")
        when = (f"{since:g}", f"{seconds:.1f}") if since < inf else ("never", "never")
        rows.append((*(f"{value:g}" for value in choice), f"{len(certain)} of {len(of)}", *when, lead))
    return markdown(head, rows)


def main() -> None:
    """Measure what is not stored yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many trainings of each choice")
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    parser.add_argument("--write", action="store_true", help=f"into {STORED.name}")
    options = parser.parse_args()
    stored = Stored(STORED if options.write else None, steps=options.steps)
    known = {tuple(row[:4]) for row in stored.found}
    prepare_process()
    for spec in specs(options.seeds, options.steps):
        if (spec.batch_size, spec.learning_rate, spec.eval_images, spec.seed) not in known:
            stored.add(tried(spec))
    print(table([Tried(*row) for row in stored.found]))


if __name__ == "__main__":
    main()
