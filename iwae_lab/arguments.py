"""An experiment as arguments of the command line, read and written."""

import argparse
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.training.fields import Limits, SpecError, choices, limits
from iwae_core.training.spec import SETTINGS, ExperimentSpec, RunSpec, Swap, changed

PROGRAM = "iwae"
TRAIN = (PROGRAM, "train")
REPEATED = "runs/again"
NAMES = {"schedule": "of the learning rate", "start": "whose weights all runs start from"}  # where the kind says less
SWAP_HELP = "after STEP steps, run number RUN (from 0) goes on with another estimator and k; may be given several times"


class UsageError(Exception):
    """Arguments that cannot be used; told in one line, exit code 2."""


class Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing, so every bad argument takes the same way out."""
        raise UsageError(message)


def command(spec: ExperimentSpec) -> str:
    """The command line that trains this experiment, with the settings that are not defaults.

    An experiment that no options describe, such as two runs with different settings of one estimator, is handed to
    `train --spec` on its standard input.
    """
    words = [*_options(spec), "--out", REPEATED]
    with suppress(UsageError, SpecError):
        if requested(parsed(words)) == spec:
            return shlex.join([*TRAIN, *words])
    return f"{shlex.join(TRAIN)} --spec /dev/stdin --out {REPEATED} <<'END'\n{spec.to_json(indent=2)}\nEND"


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options of `train` in these words.

    Raises:
        UsageError: they cannot be understood.
    """
    parser = Parser()
    train_options(parser)
    return parser.parse_args(words)


def _options(spec: ExperimentSpec) -> Iterator[str]:
    yield from ("--estimator", ",".join(run.estimator for run in spec.runs))
    yield from ("--k", _one_or_all([run.k for run in spec.runs]))
    if any(run.model != RunSpec.model for run in spec.runs):
        yield from ("--model", _one_or_all([run.model for run in spec.runs]))
    if any(run.backward != RunSpec.backward for run in spec.runs):
        yield from ("--backward", _one_or_all([run.backward for run in spec.runs]))
    settings = {name: value for run in spec.runs for name, value in run.settings.items()}
    for name, value in (settings | changed(spec, [*limits(ExperimentSpec), *choices(ExperimentSpec)])).items():
        yield from (f"--{name.replace('_', '-')}", str(value))
    for swap in spec.swaps:
        yield from ("--swap", f"{swap.run}:{swap.step}:{swap.estimator}:{swap.k}")


def _one_or_all(values: list[Any]) -> str:
    return ",".join(map(str, values[:1] if len(set(values)) == 1 else values))


def train_options(train: argparse.ArgumentParser) -> None:
    """What can be said of an experiment, with defaults and limits from the specification."""
    train.add_argument("--estimator", default="vae,iwae", help=f"comma list of {', '.join(ESTIMATORS)}")
    train.add_argument("--k", default="50", help="training k: one for all, or a comma list, one for each estimator")
    train.add_argument("--model", default="one_layer", help=f"one for all, or a comma list, of {', '.join(MODELS)}")
    backward = f"rows to go back through: {', '.join(BACKWARDS)}, as --model (default {RunSpec.backward})"
    train.add_argument("--backward", default=RunSpec.backward, help=backward)
    number_options(train, {name: (limits(RunSpec)[name], None) for name in SETTINGS})
    experiment_options(train)
    train.add_argument("--swap", action="append", default=[], metavar="RUN:STEP:ESTIMATOR:K", help=SWAP_HELP)
    train.add_argument("--spec", type=Path, metavar="FILE", help="a spec.json instead of all the settings above")
    folder = train.add_mutually_exclusive_group(required=True)
    folder.add_argument("--out", type=Path, metavar="DIR", help="new folder for log and weights")
    folder.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run of this folder, as it was begun")


def experiment_options(command: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """What all runs of an experiment share, but for some of it."""
    default = ExperimentSpec()
    numbers = {name: (limit, getattr(default, name)) for name, limit in limits(ExperimentSpec).items()}
    number_options(command, {name: number for name, number in numbers.items() if name not in without})
    for name, registry in choices(ExperimentSpec).items():
        chosen = getattr(default, name)
        text = f"{NAMES.get(name, registry.kind)}: {', '.join(registry)} (default {chosen})"
        command.add_argument(f"--{name}", default=chosen, help=text)


def number_options(command: argparse.ArgumentParser, options: dict[str, tuple[Limits, Any]]) -> None:
    """Options that take a number within limits."""
    for name, (limit, default) in options.items():
        text = f"{limit.label}: {limit}" + ("" if default is None else f" (default {default:,})")
        command.add_argument(f"--{name.replace('_', '-')}", type=_within(limit), default=default, help=text)


def requested(options: argparse.Namespace) -> ExperimentSpec:
    """The experiment that the options of `train` describe, or their file does.

    Raises:
        UsageError: options that do not go together.
        SpecError: an experiment that cannot be trained.
    """
    if options.spec is None:
        return _described(options)
    if _described(options) != ExperimentSpec():
        raise UsageError("argument --spec: the file describes the whole experiment; give no other settings")
    # Bytes that are no text make no name or number either, so the specification's own error tells of them.
    return ExperimentSpec.from_json(options.spec.read_text("utf-8", "replace"))


def _described(options: argparse.Namespace) -> ExperimentSpec:
    settings = {name: getattr(options, name) for name in (*limits(ExperimentSpec), *choices(ExperimentSpec))}
    return ExperimentSpec(runs=_runs(options), swaps=tuple(map(Swap.parse, options.swap)), **settings)


def _runs(options: argparse.Namespace) -> tuple[RunSpec, ...]:
    names = options.estimator.split(",")
    ks = _one_each("k", whole_numbers("k", options.k), len(names))
    models = _one_each("model", options.model.split(","), len(names))
    backward = _one_each("backward", options.backward.split(","), len(names))
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    runs = []
    for name, k, model, rows in zip(names, ks, models, backward, strict=True):
        taken = ESTIMATORS[name].settings if name in ESTIMATORS else {}
        own = {key: value for key, value in given.items() if key in taken}
        runs.append(RunSpec(name, k, model, **own, backward=rows))
    for key in given:
        if all(getattr(run, key) is None for run in runs):
            takers = ", ".join(name for name, entry in ESTIMATORS.items() if key in entry.settings)
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
