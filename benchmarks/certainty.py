"""The price of certainty: `python -m benchmarks.certainty` measures what the lesson on the price of a bound shows.

Each run of `iwae_lab.lessons.certainty` trains with each seed until it is certainly ahead of the VAE, or has drawn so
many samples. `--write` puts the numbers where the lesson finds them, one by one; what is there already is not measured
again, unless it was measured otherwise. Processor time is what counts: other programs lengthen it little.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import tee

from benchmarks.stored import Stored
from benchmarks.together import together
from iwae_core.training.events import Snapshot
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import MAX_STEPS, ExperimentSpec, RunSpec
from iwae_lab.history.history import History
from iwae_lab.lessons.certainty import RUNS, STORED, VAE, Found, found, key
from iwae_lab.shipped.proof import PROOF


@dataclass(frozen=True)
class Watched(ExperimentSpec):
    """An experiment that is evaluated every so many steps, however long that takes."""

    every: int = 10

    def next_snapshot(self, step: int) -> int:
        """The step of the evaluation that follows one at `step`."""
        return min(self.steps, step + self.every)


def watched(spec: ExperimentSpec, run: RunSpec, every: int) -> Watched:
    """One run of an experiment by itself."""
    values = {f.name: getattr(spec, f.name) for f in fields(ExperimentSpec)}
    return Watched(**(values | {"runs": (run,)}), every=every)


def measure(spec: ExperimentSpec, runs: list[RunSpec], every: int, samples: int) -> Iterator[tuple[RunSpec, Found]]:
    """Each run against the VAE, which is trained only once and only as far as one of them goes."""
    spec = replace(spec, steps=MAX_STEPS)
    reference = train(watched(spec, VAE, every))
    for run in runs:
        reference, again = tee(reference)
        history = History()
        for record in together(replace(spec, runs=(VAE, run)), again, train(watched(spec, run, every))):
            history.extend([record])
            over = history.step * spec.batch_size * run.k >= samples
            if isinstance(record.event, Snapshot) and (over or found(history).certain):
                break
        yield run, found(history)


def main() -> None:
    """Measure what is not stored yet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1_000_000, help="of each run, if its lead is not certain sooner")
    parser.add_argument("--every", type=int, default=10, help="steps from one evaluation to the next")
    parser.add_argument("--write", action="store_true", help="into the file of the lesson")
    options = parser.parse_args()
    prepare_process()
    stored = Stored(STORED if options.write else None, samples=options.samples, every=options.every)
    for seed in range(options.seeds):
        known = [row[:3] for row in stored.found]
        runs = [run for run in RUNS if [*key(run), seed] not in known]
        runs.sort(key=lambda run: run.k)  # what is quickly known comes first
        for run, each in measure(replace(PROOF, seed=seed), runs, options.every, options.samples):
            stored.add([*key(run), seed, each.certain, each.step, round(each.seconds, 3)])


if __name__ == "__main__":
    main()
