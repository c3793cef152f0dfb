"""The live parts of a page: each a function of an experiment and a look, drawn once for all who look the same way."""

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any, NamedTuple

from markupsafe import Markup
from plotly.utils import PlotlyJSONEncoder

from iwae_core.training.snapshots import DIGITS
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import State, UnknownExperimentError
from iwae_lab.history.history import History
from iwae_lab.history.view import View
from iwae_lab.shipped.recording import FIRST, LABELS, recording
from iwae_lab.words.glossary import Dialect
from ui.session import engine

LIVELY = ("status", "curves", "closeup", "members")  # follow each step; the others follow evaluations
CACHED = 128  # drawings kept for the next who looks the same way


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
    def from_json(cls, text: str) -> "Look":
        """What a browser asks for.

        Raises:
            ValueError: no such part, axis or dialect, or a value of the wrong type.
        """
        look = cls(**json.loads(text))
        for f in fields(cls):
            if type(getattr(look, f.name)) is not type(getattr(cls, f.name, "")):
                raise ValueError(f"{f.name} has the wrong type")
        axis, digit = look.x in ("steps", "samples", "seconds"), 0 <= look.digit < DIGITS
        if look.part not in PARTS or look.recorded not in LABELS or not axis or not digit:
            raise ValueError("there is no such part, recording, axis or digit")
        Dialect(look.words)
        return look

    @property
    def experiments(self) -> list[str]:
        """The ids of all experiments looked at: several in a sweep, none for the recording."""
        return self.experiment.split(",") if self.experiment else []


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


def stamp(look: Look) -> Hashable:
    """Changes whenever the drawing may: cheap to ask for."""
    try:
        return tuple(_version(experiment, look.part in LIVELY) for experiment in look.experiments)
    except UnknownExperimentError:
        return "gone"


def _version(experiment: str, lively: bool) -> Hashable:
    state, history = engine().state(experiment), engine().history(experiment)
    progress = history.length if lively else len(history.snapshots)
    return state, progress, engine().position(experiment)


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
        return json.dumps({"html": Markup("<p>{}.</p>").format(error), "missing": f"{error}."})
    with _lock:
        _drawings[look] = version, drawing
        while len(_drawings) > CACHED:
            _drawings.popitem(last=False)
    return drawing


def watched(look: Look) -> None:
    """Tell the engine that somebody looks at these experiments, or it would pause them after a while."""
    for experiment in look.experiments:
        with suppress(UnknownExperimentError):
            engine().touch(experiment)
