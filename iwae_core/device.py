"""Where models are trained and evaluated: on a CUDA device if there is one, else on the processor.

Random numbers are drawn on the processor and moved, so an experiment is the same on every device, up to rounding.
"""

import copy
import os
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

VARIABLE = "IWAE_DEVICE"
PROCESSOR = torch.device("cpu")
Module = TypeVar("Module", bound=nn.Module)


class DeviceError(RuntimeError):
    """IWAE_DEVICE names no device that this machine, or this build of torch, has."""


def training_device() -> torch.device:
    """The device IWAE_DEVICE names, such as "cpu" or "cuda:1"; without it the first CUDA device, or the processor.

    Raises:
        DeviceError: there is no such device here.
    """
    name = os.environ.get(VARIABLE) or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        first = str(error).splitlines()[0]
        raise DeviceError(f"{VARIABLE}={name} cannot be used here ({first}); use cpu, or leave it unset") from error


def like(module: nn.Module) -> Tensor:
    """A tensor of the dtype and on the device of a module, to move others to."""
    return next(module.parameters())


def on_processor(module: Module) -> Module:
    """The module itself if the processor has it, else a copy there: for what is small and goes to the page."""
    return module if like(module).device.type == "cpu" else copy.deepcopy(module).cpu()


def processor() -> str:
    """What the processor calls itself, where the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )


def machine() -> str:
    """What models are trained on here, in words."""
    device = training_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores of {processor()}"
