"""The arguments of the command line, and the experiment that those of `train` describe."""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from iwae_core.estimators import ESTIMATORS
from iwae_core.models import MODELS
from iwae_core.pretrained import SHIPPED
from iwae_core.schedules import SCHEDULES
from iwae_core.spec import SETTINGS, ExperimentSpec, Limits, RunSpec, Swap, limits

SWAP_HELP = "after STEP steps, run number RUN (from 0) goes on with another estimator and k; may be given several times"


class UsageError(Exception):
    """Arguments that cannot be used; told in one line, exit code 2."""


class Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing, so every bad argument takes the same way out."""
        raise UsageError(message)


def parser() -> Parser:
    """The commands and their options, with defaults and limits from the specification."""
    root = Parser(prog="python -m iwae_core", description="Train and compare multi-sample variational bounds.")
    commands = root.add_subparsers(
        required=True, dest="command", metavar="train | evaluate | evidence | signal | report | ship | bench"
    )
    _train(commands.add_parser("train", help="train one or more estimators in lockstep"))

    evaluate = commands.add_parser("evaluate", help="bounds of a trained experiment on test images")
    _numbers(evaluate, {"k": (limits(ExperimentSpec)["eval_k"], 5000)})
    _numbers(evaluate, {"limit": (limits(ExperimentSpec)["eval_images"], 10_000)})

    evidence = commands.add_parser("evidence", help="log p(x) of simulated images between two bounds")
    _numbers(evidence, EVIDENCE)

    signal = commands.add_parser("signal", help="signal-to-noise ratio of gradient estimators against k")
    signal.add_argument("--estimator", default="iwae,dreg", help=f"comma list of {', '.join(ESTIMATORS)}")
    signal.add_argument("--k", default="1,8,64", help="comma list of numbers of samples (default 1,8,64)")
    _numbers(signal, SIGNAL)

    ship = commands.add_parser("ship", help="store trained models with the program, small")
    ship.add_argument("--name", required=True, help="comma list of names, one for each run of the folder")
    ship.add_argument("--to", type=Path, default=SHIPPED, help="folder of the manifest (default: the program's own)")
    _numbers(ship, {"k": (limits(ExperimentSpec)["eval_k"], 5000)})
    _numbers(ship, {"limit": (limits(ExperimentSpec)["eval_images"], 1000)})

    bench = commands.add_parser("bench", help="speed, side by side with other libraries (in a clone of the repository)")
    bench.add_argument("--quick", action="store_true", help="one small size and few rounds: to see that it works")
    bench.add_argument(
        "--peers", default=sys.executable, metavar="PYTHON", help="a Python that has the other libraries"
    )
    bench.add_argument(
        "--write", action="store_true", help="put the results into benchmarks/ and the table into README"
    )

    for command in (evaluate, evidence, signal, ship):
        command.add_argument("directory", type=Path, metavar="DIR", help="a folder written by train")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON object and no progress bar")

    report = commands.add_parser("report", help="an experiment as one HTML file, and its numbers as a table")
    report.add_argument("directory", type=Path, metavar="DIR", help="a folder written by train")
    report.add_argument("--out", type=Path, required=True, metavar="FILE", help="HTML file to write")
    report.add_argument("--csv", type=Path, metavar="FILE", help="CSV file to write as well")
    return root


SIGNAL = {
    "images": (Limits(2, 1000, "test images of one minibatch"), 20),
    "repeats": (Limits(2, 100_000, "repetitions of each gradient"), 100),
}
EVIDENCE = {
    "images": (Limits(1, 1000, "simulated images"), 10),
    "chains": (Limits(1, 1000, "annealed chains for each image, in each direction"), 8),
    "temperatures": (Limits(1, 100_000, "steps from q(h | x) to the posterior"), 300),
}


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument("--estimator", default="vae,iwae", help=f"comma list of {', '.join(ESTIMATORS)}")
    train.add_argument("--k", default="50", help="training k: one for all, or a comma list, one for each estimator")
    train.add_argument("--model", default="one_layer", help=f"one for all, or a comma list, of {', '.join(MODELS)}")
    _numbers(train, {name: (limits(RunSpec)[name], None) for name in SETTINGS})
    default = ExperimentSpec()
    _numbers(train, {name: (limit, getattr(default, name)) for name, limit in limits(ExperimentSpec).items()})
    train.add_argument("--schedule", default="constant", help=f"of the learning rate: {', '.join(SCHEDULES)}")
    train.add_argument("--swap", action="append", default=[], metavar="RUN:STEP:ESTIMATOR:K", help=SWAP_HELP)
    train.add_argument("--spec", type=Path, metavar="FILE", help="a spec.json instead of all the settings above")
    folder = train.add_mutually_exclusive_group(required=True)
    folder.add_argument("--out", type=Path, metavar="DIR", help="new folder for log and weights")
    folder.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run of this folder, as it was begun")


def _numbers(command: argparse.ArgumentParser, options: dict[str, tuple[Limits, Any]]) -> None:
    """Options that take a number within limits."""
    for name, (limit, default) in options.items():
        text = f"{limit.label}: {limit}" + ("" if default is None else f" (default {default:,})")
        command.add_argument(f"--{name.replace('_', '-')}", type=_within(limit), default=default, help=text)


def requested(options: argparse.Namespace) -> ExperimentSpec:
    """The experiment that the options of `train` describe, or their file does."""
    if options.spec is None:
        return _described(options)
    if _described(options) != ExperimentSpec():
        raise UsageError("argument --spec: the file describes the whole experiment; give no other settings")
    # Bytes that are no text make no name or number either, so the specification's own error tells of them.
    return ExperimentSpec.from_json(options.spec.read_text("utf-8", "replace"))


def _described(options: argparse.Namespace) -> ExperimentSpec:
    numbers = {name: getattr(options, name) for name in limits(ExperimentSpec)}
    swaps = tuple(map(Swap.parse, options.swap))
    return ExperimentSpec(runs=_runs(options), schedule=options.schedule, swaps=swaps, **numbers)


def _runs(options: argparse.Namespace) -> tuple[RunSpec, ...]:
    names = options.estimator.split(",")
    ks = _one_each("k", whole_numbers("k", options.k), len(names))
    models = _one_each("model", options.model.split(","), len(names))
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    runs = []
    for name, k, model in zip(names, ks, models, strict=True):
        taken = ESTIMATORS[name].item.settings if name in ESTIMATORS else {}
        runs.append(RunSpec(name, k, model, **{key: value for key, value in given.items() if key in taken}))
    for key in given:
        if all(getattr(run, key) is None for run in runs):
            takers = ", ".join(name for name, entry in ESTIMATORS.items() if key in entry.item.settings)
            raise UsageError(f"argument --{key}: none of these estimators takes it; {takers} would")
    return tuple(runs)


def whole_numbers(option: str, text: str) -> list[int]:
    """The numbers of a comma list.

    Raises:
        UsageError: one of them is not a whole number.
    """
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(f"argument --{option}: expected whole numbers separated by commas; got {text!r}") from None


def _one_each(option: str, values: list[Any], count: int) -> list[Any]:
    if len(values) not in (1, count):
        raise UsageError(
            f"argument --{option}: give one value, or one for each of the {count} estimators; got {len(values)}"
        )
    return values * (count // len(values))


def _within(allowed: Limits) -> Callable[[str], int | float]:
    """A parser of numbers that says what is allowed."""

    def parse(text: str) -> int | float:
        with suppress(ValueError):
            value = type(allowed.minimum)(text)
            if allowed.allow(value):
                return value
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {text!r}")

    return parse
