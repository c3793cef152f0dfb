"""What the command line does: one function for each command, from its options to its exit code."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from iwae_core.bounds.curves import nested_grid
from iwae_core.bounds.lower import iwae_bound
from iwae_core.device import training_device
from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.activity import active_counts
from iwae_core.evaluation.estimate import estimate
from iwae_core.evaluation.evidence import simulated_evidence
from iwae_core.evaluation.held_out import bound_curves, log_weights
from iwae_core.evaluation.signal import gradient_moments
from iwae_core.models import Model
from iwae_core.training.events import Failed, Finished, Snapshot
from iwae_core.training.loop import Experiment, load_models
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.arguments import UsageError, requested, whole_numbers
from iwae_lab.cli import above
from iwae_lab.cli.options import EVIDENCE, SIGNAL, parser
from iwae_lab.cli.printed import (
    EVIDENCE_K,
    about_data,
    curve_summary,
    describe,
    evaluation_table,
    evidence_table,
    show_headline,
    show_progress,
    signal_table,
    training_summary,
)
from iwae_lab.cli.reproduce import reproduce
from iwae_lab.cli.sweep import sweep
from iwae_lab.engines.runner import run
from iwae_lab.history.history import History
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC, rewind, saved
from iwae_lab.records.log import LogReader, outcome
from iwae_lab.shipped import models as pretrained
from iwae_lab.take_home.report import report as html_report
from iwae_lab.take_home.table import csv_text


def train(options: argparse.Namespace) -> int:
    """Train the experiment the options describe into a new folder, or go on with the one of a folder."""
    folder: Path = options.resume or options.out
    history = _resumed(options) if options.resume else _begun(options)
    spec = ExperimentSpec.from_json((folder / SPEC).read_text())
    for record in filter(None, run(folder)):
        history.extend([record])
        show_progress("step", history.step, spec.steps, options.json)
        if isinstance(record.event, Snapshot) and not options.json:
            show_headline(history)
    if isinstance(history.outcome, Failed):
        print(f"iwae: {history.outcome.message}", file=sys.stderr)
        return 1
    reason = history.outcome.reason if history.outcome else ""
    summary = training_summary(history, spec) | {"end": reason}
    print(json.dumps(summary) if options.json else f"\n{reason}; log and weights are in {folder}")
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
    end = outcome(folder / LOG)
    if isinstance(end, Finished) and not end.stopped:
        raise UsageError(f"argument --resume: {folder} has come to its end: {end.reason or 'all steps are made'}")
    rewind(folder)
    return History(LogReader(folder / LOG).new())


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate every run of a folder on the same test images, binarisation and noise."""
    state, spec, models = _trained(options.directory)
    x = Experiment(spec).data.held_out(spec.seed, options.limit)
    ks, device, runs, log_p = nested_grid(options.k), training_device(), [], []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        report = partial(show_progress, "image", total=len(x), quiet=options.json)
        curves = bound_curves(model.to(device), x, ks, spec.seed, report)
        log_p.append(curves.iwae[-1].numpy())
        lead, stderr = map(float, estimate(log_p[-1] - log_p[0]))
        runs.append(
            describe(run_spec, _swaps(state, index))
            | curve_summary(ks, curves)
            | {"active_units": active_counts(model.cpu(), x, spec.seed), "lead": lead, "lead_stderr": stderr}
        )
    result = {"runs": runs, "images": len(x), "samples": options.k, "step": state["step"], **about_data(spec)}
    print(json.dumps(result) if options.json else "\n" + "\n".join(evaluation_table(result)))
    return 0


def evidence(options: argparse.Namespace) -> int:
    """For every run of a folder: images simulated from it, their log p(x) between two bounds, and L_5000 by its q."""
    state, spec, models = _trained(options.directory)
    report = partial(show_progress, "temperature", quiet=options.json)
    runs = []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        sizes = (options.images, options.chains, options.temperatures, spec.seed)
        try:
            found = simulated_evidence(model, *sizes, lambda done: report(done, 3 * options.temperatures))
        except ValueError as error:
            raise UsageError(f"argument DIR: {run_spec.model} cannot be annealed: {error}") from error
        bound = iwae_bound(log_weights(model, found.x, EVIDENCE_K, spec.seed)).mean()
        between = {"lower": float(found.bracket.lower.mean()), "upper": float(found.bracket.upper.mean())}
        runs.append(describe(run_spec, _swaps(state, index)) | between | {f"L_{EVIDENCE_K}": float(bound)})
    result = {"runs": runs} | {name: getattr(options, name) for name in EVIDENCE}
    print(json.dumps(result) if options.json else "\n" + "\n".join(evidence_table(result)))
    return 0


def signal(options: argparse.Namespace) -> int:
    """For every run of a folder: signal-to-noise ratios of estimators of its gradient against k, on test images."""
    state, spec, models = _trained(options.directory)
    x = Experiment(spec).data.held_out(spec.seed, options.images)
    names, ks = options.estimator.split(","), whole_numbers("k", options.k)
    runs = []
    for index, (run_spec, model) in enumerate(zip(spec.runs, models, strict=True)):
        rows = []
        for name in names:
            for k in ks:
                found = ESTIMATORS[RunSpec(name, k, run_spec.model).estimator]  # refuses what cannot work
                report = partial(show_progress, "gradient", total=options.repeats, quiet=options.json)
                moments = gradient_moments(model, found, x, k, options.repeats, spec.seed, report)
                # Weights of pixels that are never on have no gradient at all.
                theta, phi = (part.signal_to_noise()[part.variance > 0].median() for part in moments)
                rows.append({"estimator": name, "k": k, "theta": float(theta), "phi": float(phi)})
        runs.append(describe(run_spec, _swaps(state, index)) | {"signal": rows})
    result = {"runs": runs} | {name: getattr(options, name) for name in SIGNAL}
    print(json.dumps(result) if options.json else "\n" + "\n".join(signal_table(result)))
    return 0


def report(options: argparse.Namespace) -> int:
    """Write what a folder's log tells as one HTML file, and as a table if asked to."""
    history = History(LogReader(options.directory / LOG).new())
    if history.spec is None:
        raise UsageError(
            f"argument DIR: {options.directory} holds no run that has begun; give a folder written by train"
        )
    options.out.write_text(html_report(history), encoding="utf-8")
    if options.csv:
        options.csv.write_text(csv_text(history), encoding="utf-8", newline="")
    print(f"the report is in {options.out}")
    return 0


def ship(options: argparse.Namespace) -> int:
    """Store the models of a folder with the program, each with what it achieves on test images once stored."""
    state, spec, models = _trained(options.directory)
    names = options.name.split(",")
    if len(names) != len(models) or not all(re.fullmatch(r"[a-z0-9_]+", name) for name in names):
        raise UsageError(f"argument --name: give {len(models)} names of a-z, 0-9 and _, one for each run; got {names}")
    data = Experiment(spec).data
    x, ks = data.held_out(spec.seed, options.limit), nested_grid(options.k)

    def measure(model: Model) -> dict[str, Any]:
        curves = bound_curves(model, x, ks, spec.seed, lambda done: show_progress("image", done, len(x), options.json))
        found = curve_summary(ks, curves)
        found["elbo_stderr"] = found.pop("curve")["elbo_stderr"][0]
        found |= {"active_units": active_counts(model, x, spec.seed), "images": len(x), "samples": options.k}
        return found | {"step": state["step"], "batch_size": spec.batch_size, "seed": spec.seed} | about_data(spec)

    for index, (run_spec, model, name) in enumerate(zip(spec.runs, models, names, strict=True)):
        entry = pretrained.ship(model, describe(run_spec, _swaps(state, index)), name, x, measure, options.to)
        print(json.dumps({name: entry}) if options.json else f"{name}: {entry['bits']} bits, NLL {entry['nll']:.2f}")
    if spec.dataset == "mnist":
        pretrained.write_digits(pretrained.choose_digits(data), options.to)
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measure speed, if the benchmarks are here: they belong to a clone of the repository, not to an installation."""
    try:
        measure = above.command("bench")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"bench runs in a clone of the repository: call `python -m iwae_lab bench` in its top folder ({error})"
        ) from error
    return measure(options)


def _trained(folder: Path) -> tuple[dict[str, Any], ExperimentSpec, list[Model]]:
    """The checkpoint of a folder, its specification and its models."""
    state = saved(folder) if (folder / CHECKPOINT).is_file() else None
    if state is None:
        raise UsageError(f"argument DIR: {folder} holds no trained models; give a folder written by train")
    return state, *load_models(state)


def _swaps(state: dict[str, Any], run: int) -> list[Swap]:
    return [Swap(**swap) for swap in state["swaps"] if swap["run"] == run]


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "evaluate": evaluate,
    "evidence": evidence,
    "signal": signal,
    "report": report,
    "ship": ship,
    "reproduce": reproduce,
    "sweep": sweep,
    "bench": bench,
}
