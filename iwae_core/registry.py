"""One small registry for everything that can be chosen by name: estimators, models, data sets, engines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered item: the thing itself and what a reader needs to know about it."""

    name: str
    item: T
    label: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Registry(Mapping[str, Entry[T]]):
    """Names to entries, in the order of registration; selectors, command line and tests are generated from it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, label: str, **facts: Any) -> Callable[[T], T]:
        """Decorate an item with its name, its label for people and any further facts.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")

        def decorate(item: T) -> T:
            self._entries[name] = Entry(name, item, label, facts)
            return item

        return decorate

    def __getitem__(self, name: str) -> Entry[T]:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(f"unknown {self.kind} {name!r}; choose from {', '.join(self._entries)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class UnknownNameError(KeyError):
    """A name that no registry knows; the message lists the ones it does."""

    def __str__(self) -> str:
        return str(self.args[0])
