"""Strict reading of IDX, the file format of MNIST: anything unexpected is an error, never a guess."""

import gzip
import lzma
import zlib
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

READERS: dict[str, Callable[[Path], bytes]] = {
    "": Path.read_bytes,
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
}
UNSIGNED_BYTE = 0x08


class DataError(Exception):
    """A data file is missing, truncated or altered; the message says which, and what to do."""


def read_bytes(directory: Path, stem: str) -> tuple[Path, bytes]:
    """The decompressed content of `directory/stem`, stored plain, as .gz or as .xz.

    Raises:
        DataError: no such file, or one that cannot be decompressed.
    """
    for suffix, read in READERS.items():
        path = directory / f"{stem}{suffix}"
        if path.is_file():
            try:
                return path, read(path)
            except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
                raise DataError(f"{path} is truncated or damaged ({error}); replace it with an intact copy") from error
    raise DataError(f"no {stem} (plain, .gz or .xz) in {directory}; put the four MNIST files there")


def parse(content: bytes, shape: tuple[int, ...], path: Path) -> NDArray[np.uint8]:
    """The unsigned-byte array of an IDX file, which must have exactly this shape.

    Raises:
        DataError: wrong magic number, dimensions or length.
    """
    header = 4 + 4 * len(shape)
    found = tuple(int(size) for size in np.frombuffer(content[4:header].ljust(header - 4, b"\0"), ">u4"))
    if content[:4] != bytes([0, 0, UNSIGNED_BYTE, len(shape)]):
        raise DataError(f"{path} is not an IDX file of {len(shape)}-dimensional bytes (starts {content[:4].hex()})")
    if found != shape:
        raise DataError(f"{path} declares shape {found}, expected {shape}")
    if len(content) != header + prod(shape):
        raise DataError(
            f"{path} holds {len(content)} bytes, expected {header + prod(shape)}; it is truncated or padded"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
