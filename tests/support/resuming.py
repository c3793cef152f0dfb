"""Experiments that are interrupted and go on: what their tests share."""

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from iwae_core.training.events import Event, Progress, encode
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.engines.protocol import Order
from iwae_lab.engines.runner import Receive, run
from iwae_lab.records import checkpoint
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC
from iwae_lab.records.log import read_log

# The learning rate changes after 1, 3 and 7 of 20 steps, evaluations come every 7, then every 6 steps.
SPEC_20 = ExperimentSpec(
    runs=(RunSpec("vae", 1), RunSpec("iwae", 3)),
    batch_size=4,
    steps=20,
    eval_images=4,
    eval_k=20,
    schedule="burda",
    swaps=(
        Swap(run=1, step=9, estimator="iwae", k=2),
        Swap(run=0, step=5, estimator="iwae", k=3),
        Swap(run=1, step=5, estimator="vae", k=2),
    ),
    seed=3,
)


def folder_for(path: Path, spec: ExperimentSpec) -> Path:
    path.mkdir()
    (path / SPEC).write_text(spec.to_json())
    return path


def events(folder: Path) -> list[str]:
    """Every event of a log, to the bit, with its number but without the time it took."""
    found = []
    for record in read_log(folder / LOG):
        event = replace(record.event, cost=()) if isinstance(record.event, Progress) else record.event
        found.append(encode(replace(record, seconds=0.0, event=event)))
    return found


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def same_run(first: Path, second: Path) -> bool:
    states = [checkpoint.load(folder / CHECKPOINT) for folder in (first, second)]
    for state in states:
        assert state.pop("seconds") > 0
    assert len(states[0]["runs"][0]["optimiser"]["state"]) > 5, "Adam's moments are compared too"
    return events(first) == events(second) and same(*states)


def after(steps: int, *commands: Order) -> Receive:
    """Gives the commands, one after the other, when so many steps have been made since it was first asked."""
    waiting, made = deque(commands), 0

    def receive(wait: float) -> Order | None:
        nonlocal made
        if made == steps and waiting:
            return waiting.popleft()
        made += 1  # no command: now a step is made
        return None

    return receive


def train_and_die(folder: Path, receive: Receive, steps: int) -> None:
    """Make so many steps and end without a word, in the middle of a line."""
    session = run(folder, receive)
    for record in session:
        if record and isinstance(record.event, Progress) and record.event.step == steps:
            break
    session.close()
    with (folder / LOG).open("a") as file:
        file.write('{"number": ')


def kinds(folder: Path, kind: type[Event]) -> list[Any]:
    return [record.event for record in read_log(folder / LOG) if isinstance(record.event, kind)]
