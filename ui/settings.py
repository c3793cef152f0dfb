"""One table of settings: it makes the defaults, the inputs, and the address that brings all of it back."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import streamlit as st

from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import BACKWARDS
from iwae_core.models import MODELS
from iwae_core.registry import Registry
from iwae_core.training.fields import Limits, SpecError, limits
from iwae_core.training.schedules import SCHEDULES
from iwae_core.training.spec import MAX_RUNS, SETTINGS, ExperimentSpec, RunSpec, Swap
from iwae_core.training.starts import STARTS
from iwae_lab.figures import Place, offered
from iwae_lab.shipped.proof import PROOF, SCRATCH
from iwae_lab.shipped.recording import FIRST, NAMES
from iwae_lab.words.glossary import Dialect
from ui.navigation import through_history

MAX_STEPS = 1_000_000  # the server keeps a row for each in memory; the command line allows more
DEFAULT = PROOF
SHARED = {f.name for f in fields(ExperimentSpec)} - {"runs", "swaps"}  # that all runs have in common
COMMON = ("k", "model", "backward")  # that all runs have in common, unless one says otherwise
OWN = ("k", *SETTINGS)  # what a single run may set for itself
PLOTS = offered(Place.PLOT)
PANELS = {"digits": "Digits", **offered(Place.PANEL)}  # digits are pictures, not a figure


class Setting(NamedTuple):
    """Something a visitor can choose: what it is without a choice, and how a text becomes a value or is refused."""

    default: Any
    parse: Callable[[str], Any]
    label: str = ""
    limits: Limits | None = None


def number(default: Any, allowed: Limits) -> Setting:
    """A number within limits, whole if they are."""

    def parse(text: str) -> int | float | None:
        value: int | float | None = None
        try:
            value = int(text) if isinstance(allowed.minimum, int) else float(text)
        except ValueError:
            if text == "" and default is None:
                return None
        if not allowed.allow(value):
            raise ValueError(f"{allowed}")
        return value

    return Setting(default, parse, allowed.label, allowed)


def choice(default: str, options: Registry[Any] | tuple[str, ...], label: str = "") -> Setting:
    """One of some names."""

    def parse(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}")
        return text

    return Setting(default, parse, label)


def _runs(text: str) -> str:
    try:
        return runs_text(parse_runs(text))
    except SpecError as error:
        raise ValueError(f"up to {MAX_RUNS} estimators such as vae,iwae:k=5 ({error})") from error


def parse_swaps(text: str) -> tuple[Swap, ...]:
    """`1:600:iwae:20,...`: planned changes of the estimator of a run.

    Raises:
        SpecError: not a list of swaps.
    """
    return tuple(Swap.parse(part) for part in text.split(",")) if text else ()


def _swaps(text: str) -> str:
    try:
        return ",".join(map(str, parse_swaps(text)))
    except SpecError as error:
        raise ValueError(f"swaps such as 1:600:iwae:20 ({error})") from error


def parse_runs(text: str) -> list[dict[str, Any]]:
    """`vae,iwae:k=5,renyi:alpha=0.5` as keyword arguments of `RunSpec`.

    Raises:
        SpecError: an unknown estimator or setting, or too many.
    """
    runs: list[dict[str, Any]] = []
    for part in text.split(","):
        name, *own = part.split(":")
        if name not in ESTIMATORS:
            raise SpecError(f"there is no estimator {name[:40]!r}")
        run: dict[str, Any] = {"estimator": name}
        for key, _, value in (item.partition("=") for item in own):
            if key not in OWN:
                raise SpecError(f"a run has no setting {key[:40]!r}")
            try:
                run[key] = number(0, limits(RunSpec)[key]).parse(value)
            except ValueError as error:
                raise SpecError(f"{key} must be {error}") from error
        runs.append(run)
    if len(runs) > MAX_RUNS:
        raise SpecError(f"{len(runs)} runs are too many")
    return runs


def runs_text(runs: list[dict[str, Any]]) -> str:
    """The inverse of `parse_runs`."""
    return ",".join(
        ":".join([run["estimator"], *(f"{key}={run[key]}" for key in OWN if run.get(key) is not None)]) for run in runs
    )


def _experiment() -> Iterator[tuple[str, Setting]]:
    yield "runs", Setting(",".join(run.estimator for run in DEFAULT.runs), _runs, "runs")
    yield "k", number(DEFAULT.runs[0].k, limits(RunSpec)["k"])
    yield "model", choice("one_layer", MODELS, "model")
    yield "backward", choice(DEFAULT.runs[0].backward, BACKWARDS, "backward pass through")
    allowed = {**limits(ExperimentSpec), "steps": limits(ExperimentSpec)["steps"]._replace(maximum=MAX_STEPS)}
    yield from ((name, number(getattr(DEFAULT, name), limit)) for name, limit in allowed.items())
    yield "swaps", Setting("", _swaps, "planned swaps")
    yield "schedule", choice(DEFAULT.schedule, SCHEDULES, "learning rate schedule")
    yield "start", choice(DEFAULT.start, STARTS, "start from")


EXPERIMENT = dict(_experiment())
VIEW = {
    "plot": choice("bounds", tuple(PLOTS)),
    "view_k": number(DEFAULT.eval_k, Limits(1, 10_000, "view k")),
    "at": number(-1, Limits(-1, 10**9, "evaluation shown, -1 is the latest")),
    "x": choice("steps", ("steps", "samples", "seconds"), "axis of the training curves"),
    "digit": number(0, Limits(0, 9, "digit shown")),
    "beside": choice("curves", ("curves", "step"), "what is beside the plot"),
    "panel": choice("digits", tuple(PANELS), "panel"),
    "words": choice(Dialect.STATISTICS.value, tuple(Dialect), "whose words"),
    "preset": number(-1, Limits(-1, 8, "preset whose remarks are shown, -1 is none")),
    "recorded": choice(FIRST, NAMES, "recorded experiment"),
    "hide": choice("", ("", "settings", "controls"), "what to hide"),
    "projector": choice("", ("", "on"), "projector in front of a class"),
    "run": Setting("", str, "experiment shown, none is the recorded one"),
}
ALL = EXPERIMENT | VIEW


def restore(table: Mapping[str, Setting] = ALL) -> list[str]:
    """Begin each script run: settings from the address the first time and after Back or Forward, kept from then on.

    Returns what in the address could not be used, a sentence each.
    """
    state, refused, anew = st.session_state, [], through_history()
    for name, setting in table.items():
        if anew or name not in state:
            state[name] = setting.default
            if name in st.query_params:
                given = st.query_params[name]
                try:
                    state[name] = setting.parse(given)
                except ValueError as error:
                    shown = given[:40].encode("ascii", "backslashreplace").decode()
                    refused.append(f"{name} in the address must be {error}; got {shown!r}")
        else:
            state[name] = state[name]  # or it would be forgotten while its input is not on the page
    if "start" in table and "start" not in st.query_params:
        fit_start(st.query_params)
    return refused


def fit_start(given: Container[str] = ()) -> None:
    """With another network than that of the start, begin with random weights, and train as they need.

    What is given, in an address, stays as it is.
    """
    state = st.session_state
    if STARTS[state["start"]].model not in (None, state["model"]):
        choose(**{name: value for name, value in from_scratch().items() if name not in given})


def remember(table: Mapping[str, Setting] = ALL) -> None:
    """Put every setting that is not the default into the address: all at once, so that Back takes back one change."""
    now = st.query_params.to_dict()
    others = {name: value for name, value in now.items() if name not in table}
    wanted = {name: str(st.session_state[name]) for name in table if st.session_state[name] != table[name].default}
    if others | wanted != now:
        st.query_params.from_dict(others | wanted)


def chosen() -> ExperimentSpec:
    """The experiment that the settings ask for now.

    Raises:
        SpecError: they cannot be combined.
    """
    return asked_for(st.session_state)


def asked_for(values: Mapping[Any, Any]) -> ExperimentSpec:
    """The experiment of these settings.

    Raises:
        SpecError: they cannot be combined.
    """
    common = {name: values[name] for name in COMMON}
    runs = tuple(RunSpec(**{**common, **run}) for run in parse_runs(values["runs"]))
    shared = {name: values[name] for name in EXPERIMENT if name in SHARED}
    return ExperimentSpec(runs, swaps=parse_swaps(values["swaps"]), **shared)


def address(spec: ExperimentSpec) -> dict[str, str]:
    """What the page's address says of an experiment whose runs are alike in model and backward pass: no defaults."""
    first, shared = spec.runs[0], {name: getattr(spec, name) for name in EXPERIMENT if name in SHARED}
    runs = [
        run.settings | {"estimator": run.estimator} | ({} if run.k == first.k else {"k": run.k}) for run in spec.runs
    ]
    common = {name: getattr(first, name) for name in COMMON}
    own = common | {"runs": runs_text(runs), "swaps": ",".join(map(str, spec.swaps))}
    return {name: str(value) for name, value in (own | shared).items() if value != EXPERIMENT[name].default}


def from_scratch() -> dict[str, Any]:
    """The settings of an experiment that starts from random weights, where they differ from the page's defaults."""
    names = [name for name in EXPERIMENT if name in SHARED]
    return {name: getattr(SCRATCH, name) for name in names if getattr(SCRATCH, name) != getattr(DEFAULT, name)}


def choose(**values: Any) -> None:
    """Set settings, from a button's callback."""
    st.session_state.update(values)
