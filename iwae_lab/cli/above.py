"""Commands whose code is above this package: found by name when they are called, so nothing here imports upward.

`iwae demo` is the page's. `iwae bench` belongs to the benchmarks, which a clone of the repository has and an installed
program has not.
"""

from collections.abc import Callable
from importlib import import_module

HOMES = {"demo": "ui.demo", "bench": "benchmarks.command"}


def command(name: str) -> Callable[..., int]:
    """The function that does it, which has the same name.

    Raises:
        ModuleNotFoundError: its package is not here.
    """
    found: Callable[..., int] = getattr(import_module(HOMES[name]), name)
    return found
