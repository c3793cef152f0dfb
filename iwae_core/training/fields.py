"""Fields of a specification: each has a range or a registry.

One check serves the page, its address, the command line and the settings of a server.
"""

from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, NamedTuple

from iwae_core.registry import Registry, UnknownNameError


class SpecError(ValueError):
    """A specification that cannot be run; the message says what was given, what is allowed and what to do."""


class Limits(NamedTuple):
    """The range of a number, whole if its minimum is, and its label for people."""

    minimum: int | float
    maximum: int | float
    label: str

    def __str__(self) -> str:
        kind = "a whole number" if isinstance(self.minimum, int) else "a number"
        return f"{kind} from {self.minimum:,} to {self.maximum:,}"

    def allow(self, value: object) -> bool:
        """Whether the value is a number of the right kind and in range; NaN and booleans are not."""
        kinds = (int,) if isinstance(self.minimum, int) else (int, float)
        return type(value) in kinds and self.minimum <= value <= self.maximum  # type: ignore[operator]


def number(default: Any, minimum: int | float, maximum: int | float, label: str) -> Any:
    """A dataclass field with a default (`MISSING`: none), its limits and its label."""
    return field(default=default, metadata={"limits": Limits(minimum, maximum, label)})


def name(registry: Registry[Any], default: Any = MISSING) -> Any:
    """A dataclass field that holds a name of a registry."""
    return field(default=default, metadata={"registry": registry})


def check(spec: Any) -> None:
    """Refuse a specification with unknown names, or with numbers out of range or of the wrong type.

    Raises:
        SpecError: names the field, what was given and what is allowed.
    """
    for f in fields(spec):
        value = getattr(spec, f.name)
        if "registry" in f.metadata:
            _check_name(f.metadata["registry"], value)
        elif "limits" in f.metadata and not (value is f.default is None or f.metadata["limits"].allow(value)):
            allowed: Limits = f.metadata["limits"]
            raise SpecError(f"{f.name} ({allowed.label}) must be {allowed}; got {value!r}")


def _check_name(registry: Registry[Any], value: object) -> None:
    try:
        registry[str(value)]
    except UnknownNameError as error:
        raise SpecError(str(error)) from error


def limits(spec: type[Any]) -> Mapping[str, Limits]:
    """The limits of every number of a specification, by field name."""
    return {f.name: f.metadata["limits"] for f in fields(spec) if "limits" in f.metadata}


def choices(spec: type[Any]) -> Mapping[str, Registry[Any]]:
    """The registry of every name in a specification, by field name."""
    return {f.name: f.metadata["registry"] for f in fields(spec) if "registry" in f.metadata}


def variable(name: str) -> str:
    """The environment variable of a server's setting."""
    return f"IWAE_{name.upper()}"


def in_environment(spec: type[Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of a specification that the environment sets.

    Raises:
        SpecError: a variable that is no number.
    """
    given = {}
    for name, allowed in limits(spec).items():
        if text := environment.get(variable(name)):
            try:
                given[name] = type(allowed.minimum)(text)
            except ValueError:
                raise SpecError(f"{variable(name)} ({allowed.label}) must be {allowed}; got {text!r}") from None
    return given
