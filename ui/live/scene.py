"""The live parts of a page: each a function of an experiment and a look, drawn once for all who see the same."""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

from markupsafe import Markup
from plotly.utils import PlotlyJSONEncoder

from iwae_core.training.snapshots import DIGITS
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import State, UnknownExperimentError
from iwae_lab.history.history import History
from iwae_lab.history.sweep import MAX_MEMBERS
from iwae_lab.history.view import View
from iwae_lab.shipped.recording import FIRST, NAMES, recording
from iwae_lab.words.glossary import Dialect
from ui.live import polls
from ui.session import engine, trouble

LOGGER = logging.getLogger(__name__)
LIVELY = ("status", "curves", "flow", "members", "proof")  # follow each step; the others follow evaluations
SWEEPS = ("sweep", "members")  # show several experiments
MAX_COMPLETE = 10_000
CACHED = 128  # drawings kept for the next who sees the same
VIEWED = ("k", "at", "x", "digit", "words")
# What of a look these parts show; all others may show any of it.
SHOWN: dict[str, tuple[str, ...]] = {
    "curves": ("x",),
    "times": (),
    "status": (),
    "digit": ("digit", "words"),
    "sweep": (),
    "members": (),
    "poll": (),
    "headline": ("at",),
    "proof": (),
    "flow": ("words",),
    "digits": ("at", "words"),
    "reading": ("k", "at", "words"),
    "bounds": ("k", "at"),
    "difference": ("k", "at"),
    "gap": ("k", "at"),
    "spread": ("k", "at"),
}


@dataclass(frozen=True)
class Look:
    """One part of the page as one visitor sees it; `experiment` is empty for the recorded one."""

    part: str
    experiment: str = ""
    k: int = 50
    at: int = -1
    x: str = "steps"
    digit: int = 0
    words: str = Dialect.STATISTICS.value
    recorded: str = FIRST  # which recording, where there is no experiment

    @classmethod
    @lru_cache(maxsize=4096)
    def from_json(cls, text: str) -> "Look":
        """What a browser asks for.

        Raises:
            ValueError: no such part, axis or dialect, or a value of the wrong type.
        """
        look = cls(**json.loads(text))
        for name, kind in KINDS.items():
            if type(getattr(look, name)) is not kind:
                raise ValueError(f"{name} has the wrong type")
        axis, digit = look.x in ("steps", "samples", "seconds"), 0 <= look.digit < DIGITS
        if look.part not in PARTS or look.recorded not in NAMES or not axis or not digit:
            raise ValueError("there is no such part, recording, axis or digit")
        Dialect(look.words)
        return look

    @property
    def experiments(self) -> list[str]:
        """The ids of all experiments looked at: several in a sweep, none for the recording."""
        if self.part in SWEEPS:
            return swept(self.experiment)
        return [self.experiment] if self.experiment else []

    def plain(self, ks: tuple[int, ...], evaluations: int) -> "Look":
        """The look that shows the same and is asked for most: only what its part shows, a k that was evaluated."""
        shown = SHOWN.get(self.part, VIEWED)
        values: dict[str, Any] = {name: getattr(self, name) for name in shown}
        if "k" in shown:
            values["k"] = min(ks, key=lambda allowed: abs(allowed - self.k))
        if "at" in shown and not -1 <= self.at < evaluations:
            values["at"] = -1
        return Look(self.part, self.experiment, recorded=self.recorded, **values)


def swept(text: str) -> list[str]:
    """The members of a sweep: it goes by the first of them, and in old links by all, a comma between two."""
    names = text.split(",")[:MAX_MEMBERS] if text else []
    return [member for name in names for member in _gathered(name)][:MAX_MEMBERS]


def _gathered(name: str) -> Sequence[str]:
    with suppress(UnknownExperimentError):
        return engine().gathered(name)
    return [name]


KINDS = {f.name: str if f.name == "part" else type(f.default) for f in fields(Look)}


class Scene(NamedTuple):
    """An experiment as it is now, and how it is looked at."""

    history: History
    spec: ExperimentSpec
    state: State | None
    look: Look
    view: View
    dialect: Dialect


Part = Callable[[Look], dict[str, Any]]
PARTS: dict[str, Part] = {}
_drawings: OrderedDict[Look, tuple[Hashable, str]] = OrderedDict()
_told: set[tuple[str, str]] = set()  # what could not be drawn, told once each
_lock = Lock()


def part(function: Callable[[Scene], dict[str, Any]]) -> None:
    """Register a live part of one experiment under its function's name."""
    PARTS[function.__name__] = lambda look: function(scene_of(look))


def scene_of(look: Look) -> Scene:
    """The experiment that is looked at.

    Raises:
        UnknownExperimentError: there is no such experiment, or no longer.
    """
    if look.experiment:
        state = engine().state(look.experiment)
        history, spec = engine().history(look.experiment), engine().spec(look.experiment)
    else:
        state, history = None, recording(look.recorded)
        spec = history.spec or ExperimentSpec()
    ks, last = spec.eval_ks, len(history.snapshots) - 1
    k = min(ks, key=lambda allowed: abs(allowed - look.k))
    at = look.at if -1 <= look.at <= last else -1
    return Scene(history, spec, state, look, View(k, at, look.x, look.digit), Dialect(look.words))


class Facts(NamedTuple):
    """What tells whether drawings of an experiment are due."""

    ks: tuple[int, ...]
    evaluations: int
    version: Hashable  # of what follows evaluations
    lively: Hashable  # of what follows each step


_complete: dict[str, Facts] = {}  # of experiments that change no more: a sweep may have hundreds


def survey(looks: Iterable[Look]) -> dict[Look, tuple[Look, Hashable]]:
    """For each look the plainest that shows the same, and what changes whenever its drawing may: cheap to ask for.

    Each experiment is looked up once, and the engine told that somebody looks, or it would pause it after a while.
    """
    known: dict[tuple[bool, str], Facts | None] = {}
    found: dict[Look, tuple[Look, Hashable]] = {}
    for look in looks:
        recorded = not look.experiment
        names = [(recorded, name) for name in (look.experiments or [look.recorded])]
        for name in names:
            if name not in known:
                known[name] = _recorded(name[1]) if recorded else _facts(name[1])
        facts = [each for name in names if (each := known[name])]
        if len(facts) < len(names):
            found[look] = look, "gone"
        else:
            version: Hashable = tuple(each.lively if look.part in LIVELY else each.version for each in facts)
            if look.part == "poll":
                version = polls.version(look.experiment)
            found[look] = look.plain(facts[0].ks, facts[0].evaluations), version
    return found


def _recorded(name: str) -> Facts:
    history = recording(name)
    return Facts((history.spec or ExperimentSpec()).eval_ks, len(history.snapshots), (), trouble())


def _facts(experiment: str) -> Facts | None:
    try:
        engine().touch(experiment)
        if experiment in _complete:
            return _complete[experiment]
        state, history = engine().state(experiment), engine().history(experiment)
        place = engine().position(experiment) if state is State.QUEUED else None
        evaluations = len(history.snapshots)
        version = state, evaluations, place
        lively = state, history.length, place, trouble(), engine().slow(experiment)
        facts = Facts(engine().spec(experiment).eval_ks, evaluations, version, lively)
        if state is State.COMPLETED and len(_complete) < MAX_COMPLETE:
            _complete[experiment] = facts
        return facts
    except Exception:  # there is none, or it cannot be read: `draw` says which
        return None


def stamp(look: Look) -> Hashable:
    """Changes whenever the drawing may."""
    return survey([look])[look][1]


def draw(look: Look) -> str:
    """The part as JSON for its component, from memory if it was drawn before and nothing has changed."""
    version = stamp(look)
    with _lock:
        if _drawings.get(look, (None,))[0] == version:
            _drawings.move_to_end(look)
            return _drawings[look][1]
    try:
        drawing = json.dumps(PARTS[look.part](look), cls=PlotlyJSONEncoder, separators=(",", ":"))
    except UnknownExperimentError as error:
        return _missing(f"{error}.")
    except Exception:  # one drawing that fails must not end all others
        if (look.part, look.experiment) not in _told:
            LOGGER.exception("cannot draw %s", look)
            _told.add((look.part, look.experiment))
        return _missing("This cannot be drawn; the server's log says why.")
    with _lock:
        _drawings[look] = version, drawing
        while len(_drawings) > CACHED:
            _drawings.popitem(last=False)
    return drawing


def _missing(text: str) -> str:
    return json.dumps({"html": Markup("<p>{}</p>").format(text), "missing": text})
