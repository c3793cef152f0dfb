"""Tensors as whole numbers of few bits, in units of a step for each row: small files of trained weights."""

import io
import lzma
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST = 1e-30  # of a row's largest entry: a row of zeros needs a step too


def packed(state: Mapping[str, Tensor], bits: int) -> bytes:
    """Each row rounded to multiples of its largest entry / (2^(bits - 1) - 1), for up to 16 bits, then compressed."""
    arrays: dict[str, Any] = {}
    for name, tensor in state.items():
        rows = tensor.detach().reshape(tensor.shape[0] if tensor.dim() > 1 else 1, -1)
        step = rows.abs().amax(1, keepdim=True).clamp(min=LEAST) / (2 ** (bits - 1) - 1)
        codes = (rows / step).round().to(torch.int16).numpy().astype("<i2")
        # The high bytes are nearly all alike. Apart from the low ones, they take hardly any space.
        arrays[name] = np.ascontiguousarray(codes.view(np.uint8).reshape(-1, 2).T)
        arrays[f"{name} step"] = step.numpy()
        arrays[f"{name} shape"] = np.array(tensor.shape)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return lzma.compress(buffer.getvalue(), preset=9)


def unpacked(content: bytes) -> dict[str, Tensor]:
    """The float32 tensors written by `packed`, each entry within half a step of what it was."""
    with np.load(io.BytesIO(lzma.decompress(content))) as arrays:
        return {name: _tensor(arrays, name) for name in arrays.files if " " not in name}


def _tensor(arrays: Mapping[str, Any], name: str) -> Tensor:
    codes, step = np.ascontiguousarray(arrays[name].T).view("<i2"), arrays[f"{name} step"]
    rows = codes.reshape(len(step), -1).astype(np.float32) * step
    return torch.from_numpy(rows.reshape(arrays[f"{name} shape"]))
