"""Time to proof: `python -m benchmarks.proof` measures how long the command line takes until the lead is certain.

For each seed `iwae train` trains the page's first experiment in a process of its own, and the first evaluation counts
from which on the lead stays certain to the end: on the clock from the start of the process, and on that of training.

`--null M` asks how often a lead is called certain where there is none: M times VAE against VAE on other minibatches and
other noise, evaluated on the same images and the same noise. `--write` keeps every number in a file beside this one.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.process import ROOT, BenchError
from benchmarks.stored import Stored
from benchmarks.together import together
from iwae_core.training.events import Snapshot
from iwae_core.training.loop import Experiment
from iwae_core.training.process import prepare_process
from iwae_core.training.snapshots import snapshot
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.history.history import History
from iwae_lab.history.verdict import verdicts
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import LogReader
from iwae_lab.shipped.proof import PROOF
from iwae_lab.words.numbers import markdown, minus

PROOFS, NULLS = (Path(__file__).with_name(name) for name in ("proof.json", "null.json"))
OTHER = 1_000_000  # how far the seeds of the second VAEs are from those of the first
POLL = 0.005  # seconds


class Proof(NamedTuple):
    """One experiment: since when the IWAE is certainly ahead, None if it is not, and the lead in the end in nats."""

    seed: int
    step: int | None
    training: float | None  # seconds
    clock: float | None
    lead: float
    stderr: float


class Null(NamedTuple):
    """VAE against VAE: where one was first called ahead, None if it never was, and the lead in the end in nats."""

    seed: int
    step: int | None
    lead: float
    stderr: float


class Judged(Experiment):
    """An experiment that is evaluated on the images and the noise of another seed."""

    def __init__(self, spec: ExperimentSpec, judge: int) -> None:
        super().__init__(spec)
        self.judge, self.held_out = judge, self.data.held_out(judge, spec.eval_images)

    def snapshot(self, step: int) -> Snapshot:
        """Evaluate every run as an experiment of the other seed would."""
        models = [run.model for run in self.runs]
        return snapshot(step, models, self.held_out, self.spec.eval_ks, self.judge)


def proof(spec: ExperimentSpec) -> Proof:
    """Train once on the command line, and read the log while it grows."""
    with TemporaryDirectory() as folder:
        file, run = Path(folder, "spec.json"), Path(folder, "run")
        file.write_text(spec.to_json())
        words = [sys.executable, "-m", "iwae_lab", "train", "--spec", str(file), "--out", str(run)]
        history, clock, reader, began, running = (
            History(),
            dict[int, float](),
            LogReader(run / LOG),
            time.monotonic(),
            True,
        )
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
        while running:
            running = process.poll() is None  # asked before the log is read, or the end of it could be missed
            new, now = list(reader.new()), time.monotonic() - began
            clock |= {record.event.step: now for record in new if isinstance(record.event, Snapshot)}
            history.extend(new)
            time.sleep(POLL)
    if process.returncode:
        raise BenchError(f"iwae train has ended with exit code {process.returncode} for seed {spec.seed}")
    (verdict,) = verdicts(history)
    since = verdict.since if verdict.lead.mean > 0 else None
    when = (since.step, round(since.seconds, 2), round(clock[since.step], 2)) if since else (None, None, None)
    return Proof(spec.seed, *when, *(round(float(part), 4) for part in verdict.lead))


def null(spec: ExperimentSpec) -> Null:
    """Train the first run of an experiment twice, with its seed and with another one."""
    prepare_process()
    alone = replace(spec, runs=spec.runs[:1])
    other = Judged(replace(alone, seed=spec.seed + OTHER), spec.seed)
    history = History(together(replace(spec, runs=alone.runs * 2), Experiment(alone).train(), other.train()))
    called = (verdicts(history, at)[0].since for at in range(1, len(history.snapshots)))
    step = next((since.step for since in called if since), None)
    return Null(spec.seed, step, *(round(float(part), 4) for part in verdicts(history)[0].lead))


def main() -> None:
    """Measure what is not stored yet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="how many trainings")
    parser.add_argument("--null", type=int, metavar="M", help="VAE against VAE, so many times")
    parser.add_argument("--steps", type=int, default=PROOF.steps, help="of each training")
    parser.add_argument("--write", action="store_true", help=f"into {PROOFS.name} or {NULLS.name}")
    options = parser.parse_args()
    path, count = (PROOFS, options.seeds) if options.null is None else (NULLS, options.null)
    stored = Stored(path if options.write else None, steps=options.steps)
    known = {row[0] for row in stored.found}
    specs = [replace(PROOF, seed=seed, steps=options.steps) for seed in range(count) if seed not in known]
    if options.null is None:
        for spec in specs:
            stored.add(proof(spec))
        print(proofs([Proof(*row) for row in stored.found]))
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for row in threads.map(null, specs):
            stored.add(row)
    print(nulls([Null(*row) for row in stored.found]))


def proofs(found: Sequence[Proof]) -> str:
    """A row for each seed and one of medians, in which what was not found counts as the latest; Markdown."""
    columns = list(zip(*found, strict=True))[1:4]
    medians = ("median", *(_told(median(inf if value is None else value for value in column)) for column in columns))
    rows = [(str(each.seed), *map(_told, each[1:4]), minus(each.lead, 2, "+")) for each in found]
    return markdown(("seed", "step", "training, s", "clock, s", "lead, nats"), [*rows, (*medians, "")])


def nulls(found: Sequence[Null]) -> str:
    """In how many experiments a lead was called certain, and how far apart the models ended."""
    called = [f"{each.seed} (step {each.step:,})" for each in found if each.step is not None]
    widest = max(found, key=lambda each: abs(each.lead))
    return (
        f"A lead was called certain in {len(called)} of {len(found)} experiments of VAE against VAE"
        f"{': seeds ' + ', '.join(called) if called else ''}. The widest difference in the end was "
        f"{minus(widest.lead, 2, '+')} ± {2 * widest.stderr:.2f} nats."
    )


def _told(value: float | None) -> str:
    return "never" if value in (None, inf) else f"{value:,g}"


if __name__ == "__main__":
    main()
