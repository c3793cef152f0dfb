"""The command that trains every combination of estimators, k, seeds and models."""

import argparse
import json
import sys
from pathlib import Path

from iwae_core.training.fields import choices, limits
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.arguments import UsageError, whole_numbers
from iwae_lab.cli.options import parser
from iwae_lab.cli.printed import show_progress, sweep_table
from iwae_lab.engines import Engine, State, chosen_backend, open_engine, unattended
from iwae_lab.history.sweep import points
from iwae_lab.records.files import replace
from iwae_lab.sweeping.members import Row, members, to_csv, to_json
from iwae_lab.sweeping.sweep import Sweep
from iwae_lab.take_home.sweep import sweep_report

RUNS, JSON, CSV, FIGURE = "runs", "results.json", "results.csv", "figure.html"
CANCELLED = 130  # the exit code after Ctrl-C


def sweep(options: argparse.Namespace) -> int:
    """Train what is left of a sweep, here or on the cluster of IWAE_SCHEDULER, and write what all members found."""
    options = _planned(options) if options.plan else options
    specs = _specs(options)
    engine = open_engine(chosen_backend(), options.out / RUNS, unattended())
    try:
        running = Sweep(engine, specs)
        code = _follow(engine, running, options)
        rows = _written(options.out, engine, running)
    finally:
        engine.close()
    first = "".join(running.experiments[:1])
    page = f"The figure: {options.out / FIGURE}; the page of IWAE_RUNS_DIR={options.out / RUNS} has it at /sweep?sweep="
    print(to_json(rows)) if options.json else print("", *sweep_table(rows), page + first, sep="\n")
    failed = [row for row in rows if row.state == State.FAILED]
    return code or (1 if failed else 0)


def _follow(engine: Engine, running: Sweep, options: argparse.Namespace) -> int:
    """Wait for the end of all members, or for Ctrl-C."""
    written = 0
    try:
        for done in running.run():
            show_progress("member", done, len(running), options.json)
            if done > written:
                written = done
                _written(options.out, engine, running)
    except KeyboardInterrupt:
        print("\niwae: stopping; the same command goes on from here", file=sys.stderr)
        running.cancel()
        return CANCELLED
    return 0


def _planned(options: argparse.Namespace) -> argparse.Namespace:
    """The options that a file describes: lists, or single values."""
    try:
        plan = json.loads(options.plan.read_text("utf-8", "replace"))
        words = [word for name, value in plan.items() for word in (f"--{name.replace('_', '-')}", _text(value))]
    except (ValueError, AttributeError) as error:
        raise UsageError(f"argument --plan: {options.plan} is no JSON object: {error}") from error
    return parser().parse_args(["sweep", *words, "--out", str(options.out), *["--json"] * options.json])


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _specs(options: argparse.Namespace) -> list[ExperimentSpec]:
    names = [name for name in (*limits(ExperimentSpec), *choices(ExperimentSpec)) if name != "seed"]
    base = ExperimentSpec(**{name: getattr(options, name) for name in names})
    ks, seeds = whole_numbers("k", options.k), whole_numbers("seed", options.seed)
    specs = members(base, options.estimator.split(","), ks, seeds, options.model.split(","))
    if not specs:
        raise UsageError("argument --k: none of these estimators can train with these k")
    return specs


def _written(folder: Path, engine: Engine, running: Sweep) -> list[Row]:
    """What has been found so far, in files; one that is read at this moment is whole."""
    engine.gather(running.experiments)
    rows, found = running.rows(), points(map(engine.history, running.experiments))
    for name, text in {JSON: to_json(rows), CSV: to_csv(rows), FIGURE: sweep_report(found)}.items():
        replace(folder / name, text.encode())
    return rows
