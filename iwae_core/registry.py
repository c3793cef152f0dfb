"""One small registry for everything that can be chosen by name: bounds, estimators, models, data sets, figures."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Mapping[str, T]):
    """Names to things, in the order of registration; selectors, command line, tables and tests are generated from it.

    `make` turns a decorated function and the facts given with it into what the registry holds: `BOUNDS["iwae"]` is the
    bound itself, with its label, its equation and its source. A name that is not there is an `UnknownNameError`.
    """

    def __init__(self, kind: str, make: Callable[..., T]) -> None:
        self.kind = kind
        self._make = make
        self._items: dict[str, T] = {}

    def register(self, name: str, **facts: Any) -> Callable[[F], F]:
        """Decorate a function with its name and what a reader needs to know about it; it stays what it is.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")

        def decorate(function: F) -> F:
            self._items[name] = self._make(function, **facts)
            return function

        return decorate

    def __getitem__(self, name: str) -> T:
        try:
            return self._items[name]
        except KeyError:
            raise UnknownNameError(f"unknown {self.kind} {name!r}; choose from {', '.join(self._items)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class UnknownNameError(KeyError):
    """A name that no registry knows; the message lists the ones it does."""

    def __str__(self) -> str:
        return str(self.args[0])


def discover(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that what registers itself there is known; a new file needs no list.

    What a registry shows first is imported before by name.
    """
    for module in sorted(found.name for found in pkgutil.iter_modules(path)):
        import_module(f"{package}.{module}")
