"""The limit in bfloat16, on processors with instructions for it."""

from pathlib import Path

import torch

from benchmarks.contestants.contestant import Task
from benchmarks.contestants.matmul import Matmul

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16 ")  # Intel and AMD, Intel with tiles, Arm


class MatmulBfloat16(Matmul):
    """The same products with numbers of half the size."""

    dtype = torch.bfloat16

    def __init__(self, task: Task) -> None:
        cpuinfo = Path("/proc/cpuinfo")
        if not cpuinfo.exists() or not any(name in cpuinfo.read_text() for name in INSTRUCTIONS):
            raise NotImplementedError("this processor has no instructions for bfloat16")
        super().__init__(task)


CONTESTANT = MatmulBfloat16
