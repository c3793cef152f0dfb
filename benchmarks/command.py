"""`iwae bench`, which is `python -m benchmarks`."""

import json
import os
import sys
from argparse import Namespace
from typing import Any

from benchmarks import comparisons, measure, results, table
from benchmarks.process import ROOT, BenchError


def bench(options: Namespace) -> int:
    """`_bench`, with what goes wrong told in one line."""
    try:
        _bench(options)
    except BenchError as error:
        print(f"iwae: {error}", file=sys.stderr)
        return 1
    return 0


def _bench(options: Namespace) -> None:
    """Measure on one core, then on all, or as asked; print the table, or all numbers as JSON.

    Each comparison is told as soon as it is there. With `--write` it is kept at once, unless the machine was busy, and
    in the end the table in README is that of all that is kept.
    """
    effort = measure.QUICK if options.quick else measure.FULL
    chosen = comparisons.QUICK if options.quick else comparisons.FULL
    if options.cells:
        chosen = tuple(comparisons.training(*cell) for cell in options.cells)
    here, found = measure.machine(), list[dict[str, Any]]()
    for cores in _cores(options):
        for result in measure.measure(chosen, cores, options.peers, effort):
            found.append(result)
            _tell(result)
            if options.write and not results.disturbed(result):
                results.keep(here, result)
    measured = {"machine": here, "results": found}
    print(json.dumps(measured) if options.json else table.markdown(measured))
    if options.write:
        table.write(ROOT / "README.md", table.kinds(results.stored()))
        if busy := results.busy(found):
            raise BenchError(f"not written, since the machine was busy: {'; '.join(busy)}")


def _cores(options: Namespace) -> list[list[int]]:
    """The cores of each round of measurements.

    Raises:
        BenchError: more were asked for than there are.
    """
    here = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    counts = options.cores or ([1] if options.quick else sorted({1, len(here)}))
    if max(counts) > len(here):
        raise BenchError(f"there are {len(here)} cores to measure on; got --cores {max(counts)}")
    return [here[:count] for count in counts]


def _tell(result: dict[str, Any]) -> None:
    """One comparison, as it comes."""
    ours = result["entries"][0]
    ran = [entry for entry in result["entries"][1:] if entry["seconds"]]
    others = [f"{entry['contestant']} {table.spread(table.ratios(entry, ours))}" for entry in ran]
    busy = "".join(f" [{reason}]" for reason in result["noise"]["reasons"])
    print(f"{results.told(result)}: {', '.join(others) or 'nobody to compare with'}{busy}", file=sys.stderr, flush=True)
