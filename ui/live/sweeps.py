"""The live parts of a sweep: its figure, and how far its members are."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from iwae_core.evaluation.estimate import Estimate
from iwae_lab.engines import State
from iwae_lab.figures import against_training_k, sweep_summary
from iwae_lab.history.sweep import Point, Range, kind, kinds, points
from iwae_lab.words.numbers import minus, plus_minus
from iwae_lab.words.templates import macros
from ui.live.chart import figure_json
from ui.live.scene import Look
from ui.session import engine

HTML = macros("ui/live/parts.html.jinja")


def _sweep(look: Look) -> dict[str, Any]:
    """Final test bounds against training k."""
    found = points(engine().history(experiment) for experiment in look.experiments)
    return {"figure": figure_json(against_training_k(found)), "description": sweep_summary(found), "points": None}


def _members(look: Look) -> dict[str, Any]:
    """Each model of a sweep: how far it is, its numbers, and how far it is ahead of the first with the same k.

    Those that differ in their seed alone share a row.
    """
    members = [(engine().spec(each), engine().history(each), engine().state(each)) for each in look.experiments]
    names = kinds([run for spec, _, _ in members for run in spec.runs])
    rows: dict[tuple[int, str], list[_Member]] = {}
    for spec, history, state in members:
        found: Sequence[Point | None] = points([history]) or [None] * len(spec.runs)
        for run, point in zip(spec.runs, found, strict=True):
            progress = f"{history.step:,} of {spec.steps:,}, {state}"
            rows.setdefault((run.k, names[kind(run)]), []).append(_Member(state, progress, spec.runs[0].label, point))
    active = any(state.active for _, _, state in members)
    body = [[str(k), name, *_row(same)] for (k, name), same in rows.items()]
    return {"html": HTML.members(body), "state": "running" if active else "ended"}


class _Member(NamedTuple):
    state: State
    progress: str
    first: str  # the label of the run that leads are over
    point: Point | None


def _row(same: Sequence[_Member]) -> list[str]:
    """How far a model is, with each seed, and its numbers."""
    states = Counter(member.state for member in same)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    points = [member.point for member in same if member.point]
    leads = [point.lead for point in points if point.lead]
    lead = f"{_number(leads, sign=True)} over {same[0].first}" if leads else ""
    numbers = [_number([point.l_k for point in points]), _number([point.elbo for point in points]), lead]
    return [same[0].progress if len(same) == 1 else told, *numbers]


def _number(values: Sequence[Estimate], sign: bool = False) -> str:
    """That of one model, or the mean of several and their range."""
    if len(values) < 2:
        return "".join(plus_minus(value, sign) for value in values)
    found = [minus(value, 2, "+" if sign else "") for value in Range.of(values)]
    return "{}, {} to {}".format(*found)


PARTS = {"sweep": _sweep, "members": _members}
