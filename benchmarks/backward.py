"""Learning curves of two backward passes, and the time to the same test NLL: `python -m benchmarks.backward`.

For each seed one experiment trains the same estimator twice, paired, from random weights: backward through all rows,
and through those that count. `--write` keeps every seed as it comes, and goes on from there after an interruption.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.process import BenchError
from benchmarks.stored import Stored
from iwae_core.evaluation.estimate import estimate
from iwae_core.training.events import Failed, Progress, Snapshot
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_core.training.starts import RANDOM
from iwae_lab.words.numbers import markdown, minus, plus_minus

FOUND = Path(__file__).with_name("backward.json")
ROWS = 6  # of the table


class Curves(NamedTuple):
    """Of one seed: the steps of its evaluations; of each run, all rows first, test NLL and processor seconds then."""

    seed: int
    steps: list[int]
    nll: list[list[float]]
    seconds: list[list[float]]


def curves(spec: ExperimentSpec) -> Curves:
    """Train once.

    Raises:
        BenchError: a run has failed.
    """
    steps, nll, seconds, spent = list[int](), list[list[float]](), list[list[float]](), np.zeros(len(spec.runs))
    for event in train(spec):
        if isinstance(event, Failed):
            raise BenchError(f"seed {spec.seed}: {event.message}")
        if isinstance(event, Progress):
            spent += event.cost
        if isinstance(event, Snapshot):
            steps.append(event.step)
            nll.append((-event.iwae[:, -1].mean(-1, dtype=np.float64)).round(4).tolist())
            seconds.append(spent.round(2).tolist())
    return Curves(spec.seed, steps, *([list(of_run) for of_run in zip(*rows, strict=True)] for rows in (nll, seconds)))


def reached(nll: Sequence[float], seconds: Sequence[float], target: float) -> float:
    """Seconds until a curve is first at a target or below, on a straight line from the evaluation before."""
    last = next(index for index, value in enumerate(nll) if value <= target)
    if last == 0:
        return seconds[0]
    share = (nll[last - 1] - target) / (nll[last - 1] - nll[last])
    return seconds[last - 1] + share * (seconds[last] - seconds[last - 1])


def faster(found: Curves) -> float:
    """How many times as long all rows take to the NLL that both have reached in the end."""
    target = max(of_run[-1] for of_run in found.nll)
    every, counting = (reached(*pair, target) for pair in zip(found.nll, found.seconds, strict=True))
    return every / counting


def table(found: Sequence[Curves]) -> str:
    """Test NLL at some evaluations, the paired difference over seeds, and the time to the same NLL; Markdown."""
    nll = np.array([each.nll for each in found])  # [seeds, runs, evaluations]
    differences = nll[:, 1] - nll[:, 0]
    rows = []
    for at in np.unique(np.linspace(1, nll.shape[-1] - 1, ROWS).round().astype(int)):
        rows.append(
            (f"{found[0].steps[at]:,}", minus(nll[:, 0, at].mean(), 2), plus_minus(estimate(differences[:, at]), True))
        )
    times = sorted(map(faster, found))
    return (
        f"{markdown(('step', 'NLL, all rows', 'rows that count, difference'), rows)}\n\n"
        f"Mean over {len(found)} seeds, with two standard errors. To the same test NLL all rows take "
        f"{median(times):.2f} times as long ({times[0]:.2f} to {times[-1]:.2f})."
    )


def main() -> None:
    """Measure what is not stored yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="how many experiments, 2 or more")
    parser.add_argument("--estimator", default="iwae")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--steps", type=int, default=3000, help="of each training")
    parser.add_argument("--write", action="store_true", help=f"into {FOUND.name}")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("one seed tells no standard error; --seeds must be 2 or more")
    prepare_process()
    runs = tuple(RunSpec(options.estimator, options.k, backward=backward) for backward in ("all", "counting"))
    spec = ExperimentSpec(runs, steps=options.steps, eval_images=1000, start=RANDOM)
    how = {"estimator": options.estimator, "k": options.k, "steps": options.steps}
    stored = Stored(FOUND if options.write else None, spec.start, **how)
    known = {row[0] for row in stored.found}
    for seed in range(options.seeds):
        if seed not in known:
            stored.add(curves(replace(spec, seed=seed)))
    print(table([Curves(*row) for row in stored.found]))


if __name__ == "__main__":
    main()
