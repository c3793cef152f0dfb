"""The command line: `python -m iwae_core train ...` and `python -m iwae_core evaluate DIR ...`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from iwae_core import checkpoint
from iwae_core.curves import nested_grid
from iwae_core.datasets import DataError
from iwae_core.engines.runner import CHECKPOINT, LOG, SPEC, rewind, run, saved
from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluate import Curves, bound_curves
from iwae_core.events import Failed, Swapped
from iwae_core.history import History, estimate
from iwae_core.log import LogError, LogReader
from iwae_core.schedules import SCHEDULES
from iwae_core.spec import ExperimentSpec, Limits, RunSpec, SpecError, Swap, limits
from iwae_core.train import Experiment, load_models, prepare_process

SWAP_HELP = "after STEP steps, run number RUN (from 0) goes on with another estimator and k; may be given several times"


class UsageError(Exception):
    """Arguments that cannot be used; told in one line, exit code 2."""


class Parser(argparse.ArgumentParser):
    """Reports a bad argument in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing, so every bad argument takes the same way out."""
        raise UsageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        prepare_process()
        result: int = options.command(options)
        return result
    except (UsageError, SpecError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 2
    except (checkpoint.CheckpointError, LogError, DataError, OSError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> Parser:
    """The commands and their options, with defaults and limits from the specification."""
    root = Parser(prog="python -m iwae_core", description="Train and compare multi-sample variational bounds.")
    commands = root.add_subparsers(required=True, metavar="train | evaluate")

    train = commands.add_parser("train", help="train one or more estimators in lockstep")
    train.add_argument("--estimator", default="vae,iwae", help=f"comma list of {', '.join(ESTIMATORS)}")
    train.add_argument("--k", default="50", help="training k: one for all, or a comma list, one for each estimator")
    for name, limit in limits(ExperimentSpec).items():
        default = getattr(ExperimentSpec(), name)
        text = f"{limit.label}: {limit} (default {default:,})"
        train.add_argument(f"--{name.replace('_', '-')}", type=_within(limit), default=default, help=text)
    train.add_argument("--schedule", default="constant", help=f"of the learning rate: {', '.join(SCHEDULES)}")
    train.add_argument("--swap", action="append", default=[], metavar="RUN:STEP:ESTIMATOR:K", help=SWAP_HELP)
    folder = train.add_mutually_exclusive_group(required=True)
    folder.add_argument("--out", type=Path, metavar="DIR", help="new folder for log and weights")
    folder.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run of this folder, as it was begun")
    train.set_defaults(command=train_command)

    evaluate = commands.add_parser("evaluate", help="bounds of a trained experiment on test images")
    evaluate.add_argument("directory", type=Path, metavar="DIR", help="a folder written by train")
    samples, images = limits(ExperimentSpec)["eval_k"], limits(ExperimentSpec)["eval_images"]
    evaluate.add_argument("--k", type=_within(samples), default=5000, help="samples for each image (default 5000)")
    evaluate.add_argument("--limit", type=_within(images), default=10_000, help="test images (default all 10,000)")
    evaluate.set_defaults(command=evaluate_command)

    for command in (train, evaluate):
        command.add_argument("--json", action="store_true", help="print one JSON object and no progress bar")
    return root


def train_command(options: argparse.Namespace) -> int:
    """Train the experiment the options describe into a new folder, or go on with the one of a folder."""
    folder: Path = options.resume or options.out
    history = _resumed(options) if options.resume else _begun(options)
    spec = ExperimentSpec.from_json((folder / SPEC).read_text())
    for record in filter(None, run(folder)):
        history.extend([record])
        _show_progress("step", history.step, spec.steps, options.json)
    if isinstance(history.outcome, Failed):
        print(f"iwae_core: {history.outcome.message}", file=sys.stderr)
        return 1
    print(json.dumps(_training_summary(history, spec)) if options.json else f"\nlog and weights are in {folder}")
    return 0


def _begun(options: argparse.Namespace) -> History:
    """The empty history of a new folder for the experiment that the options describe."""
    spec = requested(options)
    folder: Path = options.out
    if any((folder / name).exists() for name in (LOG, SPEC, CHECKPOINT)):
        raise UsageError(f"argument --out: {folder} already holds a run; give a new folder, or --resume {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SPEC).write_text(spec.to_json())
    return History()


def _resumed(options: argparse.Namespace) -> History:
    """The history up to the last checkpoint of a folder, whose log ends there now."""
    folder: Path = options.resume
    if not (folder / SPEC).is_file():
        raise UsageError(f"argument --resume: {folder} holds no run; give a folder written by train")
    if requested(options) != requested(parser().parse_args(["train", "--resume", "."])):
        raise UsageError("argument --resume: a run goes on as it was begun; give no other settings")
    state = saved(folder)
    if state and state["step"] == json.loads(state["spec"])["steps"]:
        raise UsageError(f"argument --resume: {folder} has made all its {state['step']:,} steps")
    rewind(folder)
    return History(LogReader(folder / LOG).new())


def evaluate_command(options: argparse.Namespace) -> int:
    """Evaluate every run of a folder on the same test images, binarisation and noise."""
    if not (options.directory / CHECKPOINT).is_file():
        raise UsageError(f"argument DIR: {options.directory} holds no trained models; give a folder written by train")
    state = saved(options.directory) or {}
    spec, models = load_models(state)
    x = Experiment(spec).data.held_out(spec.seed, options.limit)
    ks = nested_grid(options.k)
    runs = []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        curves = bound_curves(model, x, ks, spec.seed, lambda done: _show_progress("image", done, len(x), options.json))
        swaps = [Swap(**swap) for swap in state["swaps"] if swap["run"] == index]
        runs.append(_describe(run_spec, swaps) | _curve_summary(ks, curves))
    result = {"runs": runs, "images": len(x), "samples": options.k, "step": state["step"]}
    print(json.dumps(result) if options.json else "\n" + "\n".join(_table(result)))
    return 0


def requested(options: argparse.Namespace) -> ExperimentSpec:
    """The experiment that the options of `train` describe."""
    numbers = {name: getattr(options, name) for name in limits(ExperimentSpec)}
    runs, swaps = _runs(options.estimator, options.k), tuple(map(_swap, options.swap))
    return ExperimentSpec(runs=runs, schedule=options.schedule, swaps=swaps, **numbers)


def _runs(estimators: str, ks: str) -> tuple[RunSpec, ...]:
    names = estimators.split(",")
    try:
        numbers = [int(k) for k in ks.split(",")]
    except ValueError:
        raise UsageError(f"argument --k: expected whole numbers separated by commas; got {ks!r}") from None
    if len(numbers) not in (1, len(names)):
        raise UsageError(f"argument --k: give one value, or one for each of the {len(names)} estimators; got {ks!r}")
    numbers *= len(names) // len(numbers)
    return tuple(RunSpec(name, k) for name, k in zip(names, numbers, strict=True))


def _swap(text: str) -> Swap:
    try:
        run, step, estimator, k = text.split(":")
        numbers = int(run), int(step), int(k)
    except ValueError:
        raise UsageError(
            f"argument --swap: expected RUN:STEP:ESTIMATOR:K, as in 0:1000:iwae:50; got {text!r}"
        ) from None
    return Swap(run=numbers[0], step=numbers[1], estimator=estimator, k=numbers[2])


def _within(allowed: Limits) -> Callable[[str], int | float]:
    """A parser of numbers that says what is allowed."""

    def parse(text: str) -> int | float:
        with suppress(ValueError):
            value = type(allowed.minimum)(text)
            if allowed.allow(value):
                return value
        raise argparse.ArgumentTypeError(f"must be {allowed}; got {text!r}")

    return parse


def _training_summary(history: History, spec: ExperimentSpec) -> dict[str, Any]:
    last = history.snapshots[-1]
    return {
        "steps": history.step,
        "seconds": history.seconds,
        "runs": [
            _describe(run_spec, [swap for swap in history.swaps if swap.run == index])
            | {
                "elbo": float(estimate(last.elbo[index]).mean),
                f"L_{spec.eval_k}": float(estimate(last.iwae[index, -1]).mean),
            }
            for index, run_spec in enumerate(spec.runs)
        ],
    }


def _describe(run_spec: RunSpec, swaps: Sequence[Swap | Swapped]) -> dict[str, Any]:
    """How a run began and what it was swapped to."""
    later = [{"step": swap.step, "estimator": swap.estimator, "k": swap.k} for swap in swaps]
    return {"estimator": run_spec.estimator, "k": run_spec.k, "swaps": later}


def _curve_summary(ks: Sequence[int], curves: Curves) -> dict[str, Any]:
    iwae, elbo = estimate(curves.iwae.numpy()), estimate(curves.elbo.numpy())
    return {
        "nll": -float(iwae.mean[-1]),
        "nll_stderr": float(iwae.stderr[-1]),
        "elbo": float(elbo.mean),
        "curve": {
            "k": list(ks),
            "iwae": iwae.mean.tolist(),
            "iwae_stderr": iwae.stderr.tolist(),
            "elbo": [float(elbo.mean)] * len(ks),
            "elbo_stderr": [float(elbo.stderr)] * len(ks),
        },
    }


def _table(result: dict[str, Any]) -> Iterator[str]:
    size = f"{result['images']} test images, {result['samples']} samples each"
    yield f"{size}, nats per image, after {result['step']:,} training steps"
    yield f"{'estimator':>12} {'k':>5} {'test NLL':>18} {'ELBO':>9}"
    for row in result["runs"]:
        estimators, ks = (">".join(str(stage[name]) for stage in (row, *row["swaps"])) for name in ("estimator", "k"))
        nll = f"{row['nll']:.2f} +- {row['nll_stderr']:.2f}"
        yield f"{estimators:>12} {ks:>5} {nll:>18} {row['elbo']:>9.2f}"


def _show_progress(unit: str, done: int, total: int, quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        filled = 30 * done // total
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {unit} {done}/{total}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
