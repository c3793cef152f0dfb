"""Files that appear whole or not at all, and that nobody can have put there before: no link is followed."""

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

# What content of another kind makes of code that expects this program's.
FOREIGN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError, zlib.error)


def replace(path: Path, content: bytes, before: Callable[[], None] = lambda: None) -> None:
    """Write a file and have it take the place of `path` in one step, right after `before` was called."""
    temporary = path.with_suffix(".partial")
    with suppress(FileNotFoundError):
        temporary.unlink()  # of a process that was killed; of a link only the link
    try:
        with opened(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        before()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def opened(path: Path, mode: str, buffering: int = -1) -> IO[Any]:
    """A file to write to, not through a symbolic link; with mode `x` one that did not exist."""
    return open(path, mode, buffering, opener=_no_link)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)
