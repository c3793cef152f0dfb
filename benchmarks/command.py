"""`iwae bench`."""

import json
import os
import sys
from argparse import Namespace
from pathlib import Path

from benchmarks import comparisons, measure, table
from benchmarks.process import ROOT, BenchError

RESULTS = Path(__file__).with_name("results.json")


def bench(options: Namespace) -> int:
    """`_bench`, with what goes wrong told in one line."""
    try:
        _bench(options)
    except BenchError as error:
        print(f"iwae: {error}", file=sys.stderr)
        return 1
    return 0


def _bench(options: Namespace) -> None:
    """Measure on one core, then on all; print the table, or all numbers as JSON; `--write` puts both into the clone."""
    effort = measure.QUICK if options.quick else measure.FULL
    chosen = comparisons.QUICK if options.quick else comparisons.FULL
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    results = measure.measure(chosen, cores[:1], options.peers, effort, _report)
    if len(cores) > 1 and not options.quick:
        results += measure.measure(chosen, cores, options.peers, effort, _report)
    measured = {"machine": measure.machine(), "results": results}
    text = table.markdown(measured)
    print(json.dumps(measured) if options.json else text)
    if options.write:
        RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
        table.write(ROOT / "README.md", text)


def _report(line: str) -> None:
    print(line, file=sys.stderr)
