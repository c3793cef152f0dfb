"""Where the files of a data set are, and reading them, compressed or not."""

import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path

READERS: dict[str, Callable[[Path], bytes]] = {
    "": Path.read_bytes,
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
}


class DataError(Exception):
    """A data file is missing, truncated or altered; the message says which, and what to do."""


def named_folder(variable: str, label: str, files: str) -> Path:
    """The folder that an environment variable names, for data that cannot come with the program.

    Raises:
        DataError: the variable is not set.
    """
    if not (name := os.environ.get(variable)):
        raise DataError(f"{label} does not come with the program; put {files} into a folder and set {variable} to it")
    return Path(name)


def read_bytes(directory: Path, name: str, files: str) -> tuple[Path, bytes]:
    """The decompressed content of `directory/name`, stored plain, as .gz or as .xz, and where it was.

    Raises:
        DataError: no such file, or one that cannot be decompressed; `files` says what belongs there.
    """
    for suffix, read in READERS.items():
        path = directory / f"{name}{suffix}"
        if path.is_file():
            try:
                return path, read(path)
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise DataError(f"{path} is truncated or damaged ({error}); replace it with an intact copy") from error
    raise DataError(f"no {name} (plain, .gz or .xz) in {directory}; put {files} there")
