"""The state of a training on disk: written whole or not at all, and checked by hash before it is used.

A flipped bit loads without any error otherwise. The file is the SHA-256 of its payload, then the payload.
"""

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

HASH_BYTES = hashlib.sha256().digest_size
FORMAT = 2  # of the state; the first held weights only


class CheckpointError(Exception):
    """A checkpoint is missing, truncated, altered or not of this program's version."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values, replacing `path` in one step."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "state": state}, buffer)
    payload = buffer.getvalue()
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """The dictionary written by `save`.

    Raises:
        CheckpointError: no such file, its content does not match its hash, or it has another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    expected, payload = content[:HASH_BYTES], content[HASH_BYTES:]
    if hashlib.sha256(payload).digest() != expected:
        raise CheckpointError(f"{path} is truncated or altered: its SHA-256 does not match; train again")
    try:
        whole: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this program") from error
    if whole.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} was written by another version of this program: its format is {whole.get('format', 1)}, "
            f"this version reads {FORMAT}; train again"
        )
    state: dict[str, Any] = whole["state"]
    return state
