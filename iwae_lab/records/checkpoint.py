"""The state of a training on disk: written whole or not at all, and checked by hash before it is used.

A flipped bit loads without any error otherwise. The file is the SHA-256 of its payload, then the payload. The one
written before is kept beside it.
"""

import hashlib
import io
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from iwae_lab.records.files import FOREIGN, replace

HASH_BYTES = hashlib.sha256().digest_size
FORMAT = 2  # of the state; the first held weights only


class CheckpointError(Exception):
    """A checkpoint is missing, truncated, altered or not of this program's version."""


class DamagedError(CheckpointError):
    """A checkpoint is truncated, altered or cannot be read."""


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_stem(f"{path.stem}.previous")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values, replacing `path` in one step; the last whole one is kept."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "state": state}, buffer)
    payload = buffer.getvalue()
    put(path, hashlib.sha256(payload).digest() + payload)


def put(path: Path, content: bytes) -> None:
    """Have the bytes of such a file take the place of `path`, in the same way."""

    def keep() -> None:
        with suppress(CheckpointError):
            if _payload(path):
                path.replace(previous(path))

    replace(path, content, keep)


def load(path: Path) -> dict[str, Any]:
    """The dictionary written by `save`.

    Raises:
        DamagedError: no such file, or its content does not match its hash.
        CheckpointError: it has another format.
    """
    payload = _payload(path)
    if payload is None:
        raise DamagedError(f"{path.name} is truncated or altered: its SHA-256 does not match; train again")
    try:
        whole = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
        found, state = whole.get("format", 1), whole.get("state")
    except (*FOREIGN, pickle.UnpicklingError, EOFError, BadZipFile, struct.error, MemoryError) as error:
        raise CheckpointError(f"{path.name} is not a checkpoint of this program") from error
    if found != FORMAT:
        raise CheckpointError(
            f"{path.name} was written by another version of this program: its format is {str(found)[:20]}, "
            f"this version reads {FORMAT}; train again"
        )
    if not isinstance(state, dict):
        raise CheckpointError(f"{path.name} is not a checkpoint of this program")
    return state


def _payload(path: Path) -> bytes | None:
    """The content of a checkpoint, None if it does not match its hash."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"cannot read {path.name}: {error.strerror}") from error
    expected, payload = content[:HASH_BYTES], content[HASH_BYTES:]
    return payload if hashlib.sha256(payload).digest() == expected else None
