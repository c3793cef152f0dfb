"""MNIST, bundled, checked by hash at every load (LeCun & Cortes, CC BY-SA 3.0; see assets/mnist/README.md)."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iwae_core.data.dataset import DATASETS, Dataset, dataset_of
from iwae_core.data.files import DataError, read_bytes
from iwae_core.data.idx import parse

BUNDLED = Path(__file__).parents[1] / "assets" / "mnist"
PIXELS = 28 * 28
# stem: (shape, SHA-256 of the decompressed file)
FILES = {
    "train-images-idx3-ubyte": (
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": ((60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": (
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": ((10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


@DATASETS.register("mnist", label="MNIST", source="LeCun & Cortes, CC BY-SA 3.0")
def mnist() -> Dataset:
    """The 60,000 + 10,000 digits from `IWAE_DATA_DIR`, or the bundled copy.

    Raises:
        DataError: a file is missing, truncated or altered.
    """
    return _load(Path(os.environ.get("IWAE_DATA_DIR") or BUNDLED))


@lru_cache(maxsize=1)
def _load(directory: Path) -> Dataset:
    return dataset_of(*(_read(directory, stem) for stem in FILES))


def _read(directory: Path, stem: str) -> NDArray[np.uint8]:
    shape, expected = FILES[stem]
    path, content = read_bytes(directory, stem, "the four MNIST files")
    array = parse(content, shape, path)
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is not the original MNIST file: its SHA-256 is {found[:12]}..., expected {expected[:12]}...; "
            "replace it, or unset IWAE_DATA_DIR to use the bundled copy"
        )
    return array
