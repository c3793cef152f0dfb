"""The settings of the server itself, read from its environment and checked when it starts."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from iwae_core.training.fields import SpecError, check, in_environment, number
from iwae_lab.records.place import runs_folder

HOSTS, ANCESTORS, SECRET = "IWAE_HOSTS", "IWAE_FRAME_ANCESTORS", "IWAE_SECRET"
CODE, ON, OFF = "IWAE_CODE", "on", "off"
FOLDERS = "IWAE_RUNS_DIR", "IWAE_DATA_DIR"  # told on the page, once something is to be kept or read there
HOST = re.compile(r"\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[?[0-9a-f:]+\]?")
ANCESTOR = re.compile(r"'self'|'none'|\*|(https?://)?(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d+)?|https?:")
SHORTEST_SECRET = 16
LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")  # addresses that only this machine itself can reach


@dataclass(frozen=True)
class ServerSettings:
    """What the server allows browsers.

    Raises:
        SpecError: a setting that is out of range.
    """

    pages: int = number(400, 1, 100_000, "pages that are open at the same time")
    connections: int = number(3000, 20, 1_000_000, "connections of all kinds at the same time")
    request_seconds: float = number(10.0, 0.1, 3600.0, "seconds within which a request has to arrive")
    stall_seconds: float = number(60.0, 1.0, 3600.0, "seconds without reading after which a connection is closed")
    message_kb: int = number(512, 16, 4000, "kB of one message from a browser")
    metrics_port: int = number(0, 0, 65_535, "port of the metrics for Prometheus, 0 for none")
    hosts: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ("'self'",)
    code: bool = False  # whether visitors may run Python of their own

    def __post_init__(self) -> None:
        check(self)


def server_settings(environment: Mapping[str, str] = os.environ) -> ServerSettings:
    """The settings that IWAE_PAGES and its like ask for; what is not set keeps its default.

    Raises:
        SpecError: a variable that is no number or out of range, or a name that is none.
    """
    given = in_environment(ServerSettings, environment)
    if text := environment.get(CODE):
        if text not in (ON, OFF):
            raise SpecError(f"{CODE} must be {ON} or {OFF}; got {text!r}")
        given["code"] = text == ON
    for name, variable, form in ("hosts", HOSTS, HOST), ("frame_ancestors", ANCESTORS, ANCESTOR):
        if text := environment.get(variable):
            given[name] = _list(variable, text, form)
    return ServerSettings(**given)


def _list(variable: str, text: str, form: re.Pattern[str]) -> tuple[str, ...]:
    names = tuple(text.lower().replace(",", " ").split())
    if wrong := next((name for name in names if not form.fullmatch(name)), None):
        example = "lab.example.org *.example.org" if variable == HOSTS else "'self' https://course.example.org"
        raise SpecError(f"{variable} must be a list such as {example}; got {wrong!r}")
    return names


def check_settings() -> None:
    """End the process with exit code 2 and one line if a setting is wrong: now, not at the first visitor."""
    try:
        server_settings()
        runs_folder()
        if 0 < len(os.environ.get(SECRET, "")) < SHORTEST_SECRET:
            raise SpecError(f"{SECRET} must have at least {SHORTEST_SECRET} characters")
        _check_engine()
    except (SpecError, RuntimeError) as error:
        print(f"iwae: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _check_engine() -> None:
    """Those of the engine, if any is set: to look at them takes torch, which takes seconds to load."""
    if any(name.startswith("IWAE_") and name not in (*FOLDERS, CODE) for name in os.environ):
        from iwae_core.device import training_device
        from iwae_lab.engines import from_environment

        from_environment()
        training_device()
