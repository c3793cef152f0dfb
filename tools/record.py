"""`python -m tools.record NAME FOLDER...`: a long training becomes a recording that ships, told in fewer records.

Several folders hold trainings made apart, one after the other or on several machines, of what is one experiment: they
agree in everything but their runs. Of the steps some are told, and of the evaluations, evenly spread; the first and the
last of each always. Seconds are those of the slowest training.
"""

import argparse
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.together import together
from iwae_core.training.events import Progress, Record, Snapshot, encode
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import read_log
from iwae_lab.shipped.recording import FOLDER

STEPS, EVALUATIONS = 2000, 40


def joined(folders: Sequence[Path]) -> list[Record]:
    """The records of the experiment that finished trainings are together.

    Raises:
        ValueError: they differ in more than their runs.
    """
    specs = [ExperimentSpec.from_json((folder / SPEC).read_text()) for folder in folders]
    first, runs = specs[0], sum((spec.runs for spec in specs), ())
    for folder, spec in zip(folders, specs, strict=True):
        if replace(spec, runs=first.runs) != first:
            raise ValueError(f"{folder} differs from {folders[0]} in more than its runs; record it by itself")
    logs = [list(read_log(folder / LOG)) for folder in folders]
    whole = together(replace(first, runs=runs), *([record.event for record in log] for log in logs))
    return [
        replace(record, seconds=max(one.seconds for one in each)) for record, *each in zip(whole, *logs, strict=True)
    ]


def thinned(records: Sequence[Record], steps: int = STEPS, evaluations: int = EVALUATIONS) -> Iterator[Record]:
    """So many of them, numbered anew."""
    made = [record.event.step for record in records if isinstance(record.event, Progress)]
    seen = [record.event.step for record in records if isinstance(record.event, Snapshot)]
    told = {made[round(at)] for at in np.linspace(0, len(made) - 1, steps)}
    looks = {seen[round(at)] for at in np.linspace(0, len(seen) - 1, evaluations)}
    kept = (record for record in records if _is_told(record, told, looks))
    return (replace(record, number=number) for number, record in enumerate(kept))


def _is_told(record: Record, steps: set[int], evaluations: set[int]) -> bool:
    match record.event:
        case Progress(step):
            return step in steps
        case Snapshot(step):
            return step in evaluations
    return True


def main() -> None:
    """Write the recording."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the recording")
    parser.add_argument("folders", nargs="+", type=Path, help="finished trainings")
    options = parser.parse_args()
    lines = "".join(encode(record) + "\n" for record in thinned(joined(options.folders)))
    (FOLDER / f"{options.name}.jsonl.xz").write_bytes(lzma.compress(lines.encode(), preset=9))


if __name__ == "__main__":
    main()
