"""Strict reading of IDX, the file format of MNIST: anything unexpected is an error, never a guess."""

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iwae_core.data.files import DataError

UNSIGNED_BYTE = 0x08


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
