"""Trainings made apart and read as one experiment: a run alone is the same to the bit as beside another."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import numpy as np

from iwae_core.training.events import Event, Progress, Record, Snapshot, Started
from iwae_core.training.spec import ExperimentSpec


def together(spec: ExperimentSpec, *trainings: Iterable[Event]) -> Iterator[Record]:
    """The records of an experiment, a training for each of its runs, evaluated after the same steps. No time passes."""
    for number, events in enumerate(zip(*trainings, strict=True)):
        yield Record(number, 0.0, _joined(spec, events))


def _joined(spec: ExperimentSpec, events: Sequence[Event]) -> Event:
    match events[0]:
        case Started(_, originals):
            return Started(spec.to_json(), originals)
        case Progress() as first:
            return Progress(
                first.step, *(sum((getattr(e, name) for e in events), ()) for name in ("elbo", "iwae", "cost"))
            )
        case Snapshot() as first:
            names = [f.name for f in fields(Snapshot) if f.name != "step"]
            return Snapshot(first.step, **{name: np.concatenate([getattr(e, name) for e in events]) for name in names})
    return events[0]
