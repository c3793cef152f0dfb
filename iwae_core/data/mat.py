"""Strict reading of matrices from MATLAB files of level 5 (versions 5 to 7), the format of OMNIGLOT's."""

import struct
import zlib
from collections.abc import Collection, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_core.data.files import DataError

HEADER, LEVEL_5 = 128, 0x0100
ORDERS = {b"IM": "<", b"MI": ">"}  # how the letters MI were written tells the order of bytes
MATRIX, COMPRESSED = 14, 15
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # the classes of arrays that hold numbers: double, single, and eight kinds of integers
COMPLEX = 0x0800


def matrices(content: bytes, names: Collection[str], path: Path) -> dict[str, NDArray[Any]]:
    """The real numeric arrays of these names, with MATLAB's shapes; what else the file holds is passed over.

    Raises:
        DataError: it is not such a file, is truncated or damaged, or lacks one of the arrays.
    """
    order = ORDERS.get(content[HEADER - 2 : HEADER])
    if order is None or struct.unpack(f"{order}H", content[HEADER - 4 : HEADER - 2])[0] != LEVEL_5:
        raise DataError(f"{path} is not a MATLAB file of level 5 (starts {content[:20]!r})")
    found = {}
    try:
        for kind, element in _elements(memoryview(content)[HEADER:], order):
            if kind == COMPRESSED:
                ((kind, element),) = _elements(memoryview(zlib.decompress(element)), order)
            if kind == MATRIX and (array := _array(element, order, names)):
                found[array[0]] = array[1]
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); replace it with an intact copy") from error
    if lacking := [name for name in names if name not in found]:
        raise DataError(f"{path} lacks {', '.join(lacking)}; is it the right file?")
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The type and content of each data element."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack(f"{order}2I", content[at : at + 8])
        begin = at + 8
        if kind >> 16:  # a small element: its size, its type and four bytes
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
        if begin + size > len(content):
            raise ValueError(f"an element ends {begin + size - len(content):,} bytes after its file")
        yield kind, content[begin : begin + size]
        at = begin + size
        if kind != COMPRESSED:
            at += -at % 8


def _array(element: memoryview, order: str, names: Collection[str]) -> tuple[str, NDArray[Any]] | None:
    """The name and content of an array, if it is wanted."""
    flags, shape, name, *values = _elements(element, order)
    label = bytes(name[1]).decode("ascii")
    if label not in names:
        return None
    traits, sizes = int(_numbers(*flags, order)[0]), [int(size) for size in _numbers(*shape, order)]
    if traits & 0xFF not in NUMERIC or traits & COMPLEX:
        raise ValueError(f"{label} does not hold real numbers")
    numbers = _numbers(*values[0], order)
    if len(numbers) != prod(sizes):
        raise ValueError(f"{label} holds {len(numbers):,} numbers, expected {prod(sizes):,}")
    return label, numbers.reshape(sizes, order="F")


def _numbers(kind: int, content: memoryview, order: str) -> NDArray[Any]:
    return np.frombuffer(content, f"{order}{TYPES[kind]}")
