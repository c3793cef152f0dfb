"""The command that fills the tables of the paper, cell by cell, in as many sittings as it takes."""

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial

from iwae_core.training.events import Failed, Finished
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.arguments import UsageError
from iwae_lab.cli.printed import CLEAR, reproduced_table, show_progress
from iwae_lab.engines import chosen_backend, open_engine, scheduler, unattended
from iwae_lab.paper.groups import GROUPS, IMAGES, TEST_IMAGES, Group
from iwae_lab.paper.results import Result, to_json
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import outcome
from iwae_lab.reproducing.evaluation import evaluate, images_done, is_evaluated, results
from iwae_lab.reproducing.pace import evaluation_seconds, training_seconds
from iwae_lab.reproducing.training import adopt, begin, is_begun, is_trained, steps_made, train
from iwae_lab.sweeping.sweep import Sweep

RESULTS = "results.json"
SAY_EVERY = 600.0  # seconds, where there is no terminal for a bar


def reproduce(options: argparse.Namespace) -> int:
    """Train and evaluate the cells asked for, each from where it stopped, until all are done or the time is over."""
    until = time.monotonic() + 3600 * (math.inf if options.hours is None else options.hours)
    specs = {group: group.spec(options.share, options.seed) for group in _chosen(options.cells)}
    for group, spec in specs.items():
        if not is_begun(options.out / group.name, spec):
            adopt(options.out / group.name, spec, options.adopt)
    if not options.json:
        _say(options, *_plan(options, specs))
    done = (_fill_from_cluster if scheduler() else _fill)(options, specs, until)
    found = _write(options)
    if options.json:
        print(to_json(found))
    _say(options, *reproduced_table(found), f"These results are in {options.out / RESULTS}")
    return 0 if done else 1


def _chosen(names: str) -> list[Group]:
    """The groups of these names or data sets, each once."""
    chosen: list[Group] = []
    for name in names.split(","):
        named = [group for group in GROUPS.values() if name in (group.name, group.cells[0].dataset)]
        if not named:
            raise UsageError(f"argument --cells: unknown cells {name!r}; choose from {', '.join([*IMAGES, *GROUPS])}")
        chosen += named
    return list(dict.fromkeys(chosen))


def _say(options: argparse.Namespace, *lines: str) -> None:
    """Lines for people, in the place of a progress bar if there is one."""
    if not options.json:
        print(CLEAR * sys.stderr.isatty() + "\n".join(lines), flush=True)


def _plan(options: argparse.Namespace, specs: Mapping[Group, ExperimentSpec]) -> Iterator[str]:
    """For each group what it holds, how far it is, and about when it will be ready, if this machine trains it."""
    left = 0.0
    for group, spec in specs.items():
        folder, images = options.out / group.name, _images(options, group)
        state, made = "evaluated", steps_made(folder)
        if not is_evaluated(folder, images, options.k):
            state = f"step {made:,} of {spec.steps:,}"
            if not scheduler():
                # Table 2 goes on from models that are trained before it.
                left += training_seconds(spec, made or max((swap.step for swap in spec.swaps), default=0))
                left += evaluation_seconds(spec, images - images_done(folder, options.k), options.k)
                state += f", ready about {_clock(left)}"
        yield f"{group.name:>16}  {group.label}: {state}"


def _clock(seconds: float) -> str:
    """When so many seconds will have passed."""
    return f"{datetime.now() + timedelta(seconds=seconds):%a %d %b %H:%M}"


def _images(options: argparse.Namespace, group: Group) -> int:
    return min(int(options.limit), TEST_IMAGES[group.cells[0].dataset])


def _fill(options: argparse.Namespace, specs: Mapping[Group, ExperimentSpec], until: float) -> bool:
    """Do what is left of each group here, as far as the time allows; returns whether nothing went wrong."""
    failed = []
    for group, spec in specs.items():
        if _is_wanted(options, group, until):
            failed.append(_train(options, group, spec, until))
            _evaluate(options, group, until)
    return not any(failed)


def _fill_from_cluster(options: argparse.Namespace, specs: Mapping[Group, ExperimentSpec], until: float) -> bool:
    """Have all groups trained at once, as far as the cluster has room, and evaluate each here once it is trained.

    None waits for another: one of Table 2 is trained from its beginning, unless its first stages are trained already.
    """
    wanted = [group for group in specs if _is_wanted(options, group, until)]
    for group in wanted:
        _begin(options, group, specs[group])
    engine = open_engine(chosen_backend(), options.out, unattended(), re.compile("|".join(GROUPS)))
    try:
        training = Sweep(engine, [specs[group] for group in wanted])
        steps = sum(specs[group].steps for group in wanted)
        report = _progress(options, "step", steps, sum(steps_made(options.out / group.name) for group in wanted))
        looks = training.run()
        for _ in looks:
            report(sum(engine.history(group.name).step for group in wanted))
            for group in wanted:
                _evaluate(options, group, until, meanwhile=partial(next, looks, None))
            if time.monotonic() >= until:
                training.cancel()
                break
    finally:
        engine.close()
    for group in wanted:
        _evaluate(options, group, until)  # one that was trained while the last was evaluated
    failed = [_tell_if_failed(group, outcome(options.out / group.name / LOG)) for group in wanted]
    return not any(failed)


def _is_wanted(options: argparse.Namespace, group: Group, until: float) -> bool:
    """Whether there is something left to do, and time for it."""
    return time.monotonic() < until and not is_evaluated(options.out / group.name, _images(options, group), options.k)


def _begin(options: argparse.Namespace, group: Group, spec: ExperimentSpec) -> None:
    if not is_begun(options.out / group.name, spec):
        begin(options.out, group, spec)


def _train(options: argparse.Namespace, group: Group, spec: ExperimentSpec, until: float) -> bool:
    """Make the steps of a group that are left; returns whether it failed."""
    folder = options.out / group.name
    _begin(options, group, spec)
    if is_trained(folder):
        return False
    _say(options, f"{group.name}: training from step {steps_made(folder):,}")
    return _tell_if_failed(
        group, train(folder, until, _progress(options, f"{group.name}: step", spec.steps, steps_made(folder)))
    )


def _tell_if_failed(group: Group, end: Finished | Failed | None) -> bool:
    if isinstance(end, Failed):
        print(f"iwae: {group.name}: {end.message}", file=sys.stderr)
    return isinstance(end, Failed)


def _evaluate(
    options: argparse.Namespace, group: Group, until: float, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Evaluate a group if it is trained, as far as the time allows."""
    folder, images = options.out / group.name, _images(options, group)
    if not is_trained(folder) or not _is_wanted(options, group, until):
        return
    _say(options, f"{group.name}: evaluating {images:,} images, from number {images_done(folder, options.k):,}")
    progress = _progress(options, f"{group.name}: image", images, images_done(folder, options.k))

    def report(done: int) -> None:
        progress(done)
        meanwhile()

    if evaluate(folder, images, options.k, until, report):
        _write(options)


def _progress(options: argparse.Namespace, unit: str, total: int, first: int) -> Callable[[int], None]:
    """Shows how much is done, and by the speed since `first` when all will be; now and then as a line, for a log."""
    began = said = time.monotonic()

    def report(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        ready = f", ready about {_clock((now - began) / max(1, done - first) * (total - done))}"
        show_progress(unit, done, total, options.json, ready)
        if now - said >= SAY_EVERY and not sys.stderr.isatty():
            said = now
            _say(options, f"{unit} {done:,} of {total:,}{ready}")

    return report


def _write(options: argparse.Namespace) -> list[Result]:
    """Put the results of all groups so far into one file."""
    found = [row for group in GROUPS.values() for row in results(options.out, group, options.share, options.seed)]
    options.out.mkdir(parents=True, exist_ok=True)
    temporary = options.out / f"{RESULTS}.partial"
    temporary.write_text(to_json(found))
    temporary.replace(options.out / RESULTS)
    return found
