"""The command line: `python -m iwae_core train ...`, `evaluate DIR ...` and `evidence DIR ...`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from iwae_core import checkpoint
from iwae_core.bounds import iwae_bound
from iwae_core.curves import nested_grid
from iwae_core.datasets import DataError
from iwae_core.engines.runner import CHECKPOINT, LOG, SPEC, rewind, run, saved
from iwae_core.evaluate import ACTIVE, Curves, active_units, bound_curves, log_weights, simulated_evidence
from iwae_core.events import Failed, Swapped
from iwae_core.history import History, estimate
from iwae_core.log import LogError, LogReader
from iwae_core.models import Model
from iwae_core.options import EVIDENCE, UsageError, parser, requested
from iwae_core.spec import ExperimentSpec, RunSpec, SpecError, Swap
from iwae_core.train import Experiment, load_models, prepare_process

ACTIVITY_SAMPLES = 50  # of the layers below, for the mean of a higher one
EVIDENCE_K = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        options = parser().parse_args(arguments)
        prepare_process()
        return COMMANDS[options.command](options)
    except (UsageError, SpecError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 2
    except (checkpoint.CheckpointError, LogError, DataError, OSError) as error:
        print(f"iwae_core: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


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
    state, spec, models = _trained(options.directory)
    x = Experiment(spec).data.held_out(spec.seed, options.limit)
    ks, runs, log_p = nested_grid(options.k), [], []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        curves = bound_curves(model, x, ks, spec.seed, lambda done: _show_progress("image", done, len(x), options.json))
        log_p.append(curves.iwae[-1].numpy())
        lead, stderr = map(float, estimate(log_p[-1] - log_p[0]))
        active = [int((layer > ACTIVE).sum()) for layer in active_units(model, x, ACTIVITY_SAMPLES, spec.seed)]
        runs.append(
            _describe(run_spec, _swaps(state, index))
            | _curve_summary(ks, curves)
            | {"active_units": active, "lead": lead, "lead_stderr": stderr}
        )
    result = {"runs": runs, "images": len(x), "samples": options.k, "step": state["step"]}
    print(json.dumps(result) if options.json else "\n" + "\n".join(_table(result)))
    return 0


def evidence_command(options: argparse.Namespace) -> int:
    """For every run of a folder: images simulated from it, their log p(x) between two bounds, and L_5000 by its q."""
    state, spec, models = _trained(options.directory)
    report = partial(_show_progress, "temperature", quiet=options.json)
    runs = []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        sizes = (options.images, options.chains, options.temperatures, spec.seed)
        try:
            found = simulated_evidence(model, *sizes, lambda done: report(done, 3 * options.temperatures))
        except ValueError as error:
            raise UsageError(f"argument DIR: {run_spec.model} cannot be annealed: {error}") from error
        bound = iwae_bound(log_weights(model, found.x, EVIDENCE_K, spec.seed)).mean()
        between = {"lower": float(found.bracket.lower.mean()), "upper": float(found.bracket.upper.mean())}
        runs.append(_describe(run_spec, _swaps(state, index)) | between | {f"L_{EVIDENCE_K}": float(bound)})
    result = {"runs": runs} | {name: getattr(options, name) for name in EVIDENCE}
    print(json.dumps(result) if options.json else "\n" + "\n".join(_evidence_table(result)))
    return 0


def _trained(folder: Path) -> tuple[dict[str, Any], ExperimentSpec, list[Model]]:
    """The checkpoint of a folder, its specification and its models."""
    state = saved(folder) if (folder / CHECKPOINT).is_file() else None
    if state is None:
        raise UsageError(f"argument DIR: {folder} holds no trained models; give a folder written by train")
    return state, *load_models(state)


def _swaps(state: dict[str, Any], run: int) -> list[Swap]:
    return [Swap(**swap) for swap in state["swaps"] if swap["run"] == run]


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
    began = {"estimator": run_spec.estimator, "k": run_spec.k, "model": run_spec.model}
    return began | run_spec.settings | {"swaps": later}


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
    yield f"{'estimator':>16} {'k':>7} {'test NLL':>18} {'ELBO':>9} {'active units':>13} {'lead over the first':>20}"
    for row in result["runs"]:
        nll = f"{row['nll']:.2f} +- {row['nll_stderr']:.2f}"
        active = "+".join(map(str, row["active_units"]))
        lead = "" if row is result["runs"][0] else f"{row['lead']:+.2f} +- {row['lead_stderr']:.2f}"
        yield f"{_stages(row)} {nll:>18} {row['elbo']:>9.2f} {active:>13} {lead:>20}"


def _evidence_table(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['images']} images simulated from each model, nats per image"
    yield f"{'estimator':>16} {'k':>7} {'log p(x) between':>22} {f'L_{EVIDENCE_K}':>9}"
    for row in result["runs"]:
        between = f"{row['lower']:.2f} and {row['upper']:.2f}"
        yield f"{_stages(row)} {between:>22} {row[f'L_{EVIDENCE_K}']:>9.2f}"


def _stages(row: dict[str, Any]) -> str:
    estimators, ks = (">".join(str(stage[name]) for stage in (row, *row["swaps"])) for name in ("estimator", "k"))
    return f"{estimators:>16} {ks:>7}"


def _show_progress(unit: str, done: int, total: int, quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        filled = 30 * done // total
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {unit} {done}/{total}", end="", file=sys.stderr, flush=True)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train_command,
    "evaluate": evaluate_command,
    "evidence": evidence_command,
}

if __name__ == "__main__":
    sys.exit(main())
