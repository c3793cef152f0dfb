"""Weights on disk: written whole or not at all, and checked by hash before they are used.

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


class CheckpointError(Exception):
    """A checkpoint is missing, truncated or altered."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values, replacing `path` in one step."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
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
        CheckpointError: no such file, or its content does not match its hash.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    expected, payload = content[:HASH_BYTES], content[HASH_BYTES:]
    if hashlib.sha256(payload).digest() != expected:
        raise CheckpointError(f"{path} is truncated or altered: its SHA-256 does not match; train again")
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this program") from error
    return state
