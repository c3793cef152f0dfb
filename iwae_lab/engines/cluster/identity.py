"""What has to be the same on a server and on the workers of its cluster: the program, and what computes its numbers."""

import hashlib
import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from iwae_core.device import processor
from iwae_lab import __version__

ROOT = Path(__file__).parents[3]
PACKAGES = "iwae_core", "iwae_lab"


class Identity(NamedTuple):
    """A program, and the machine it is on."""

    version: str
    code: str  # a hash of every line of it
    torch: str
    python: str
    processor: str

    def differences(self, other: "Identity") -> Iterator[str]:
        """What keeps the other from training for this one, in words."""
        for name, own, its in zip(self._fields, self, other, strict=True):
            if own != its and name != "processor":
                yield f"{'program' if name in ('version', 'code') else name} {its}, not {own}"


@cache
def identity() -> Identity:
    """That of this process."""
    return Identity(__version__, _code(), version("torch"), _python(), processor())


def _code() -> str:
    found = hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])
