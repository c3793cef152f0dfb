"""OMNIGLOT, from a folder of the user's: handwritten characters of 50 alphabets, as in the paper."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iwae_core.data.dataset import DATASETS, Dataset, dataset_of
from iwae_core.data.files import DataError, named_folder, read_bytes
from iwae_core.data.mat import matrices

VARIABLE, LABEL, FILE = "IWAE_OMNIGLOT_DIR", "OMNIGLOT", "chardata.mat"
PLACE = f"{FILE} of github.com/yburda/iwae, datasets/OMNIGLOT,"
SIDE, ALPHABETS = 28, 50
SHAPES = {
    "data": (SIDE * SIDE, 24_345),
    "target": (ALPHABETS, 24_345),
    "testdata": (SIDE * SIDE, 8_070),
    "testtarget": (ALPHABETS, 8_070),
}


@DATASETS.register("omniglot", label=LABEL, source="Lake et al. 2015; the split and size of Burda et al. 2016")
def omniglot() -> Dataset:
    """The 24,345 + 8,070 characters from `IWAE_OMNIGLOT_DIR`; labels are alphabets.

    Raises:
        DataError: no folder is named, or the file is missing, truncated or another one.
    """
    return _load(named_folder(VARIABLE, LABEL, PLACE))


@lru_cache(maxsize=1)
def _load(directory: Path) -> Dataset:
    path, content = read_bytes(directory, FILE, PLACE)
    found = matrices(content, SHAPES, path)
    for name, shape in SHAPES.items():
        if found[name].shape != shape:
            raise DataError(f"{path} holds {name} of shape {found[name].shape}, expected {shape}")
        if not (found[name].min() >= 0 and found[name].max() <= 1):  # a NaN is neither
            raise DataError(f"{path} holds {name} outside [0, 1]; is it the right file?")
    train, train_labels, test, test_labels = (_of(name, found.pop(name), path) for name in SHAPES)
    return dataset_of(train, train_labels, test, test_labels)


def _of(name: str, array: NDArray[Any], path: Path) -> NDArray[Any]:
    """Labels, or images `[n, 28, 28]`: MATLAB writes a picture column by column, and one picture in each column."""
    if not name.endswith("target"):
        columns = array.T.reshape(-1, SIDE, SIDE).astype(np.float32)
        columns *= 255
        return columns.transpose(0, 2, 1)
    if not (np.isin(array, (0, 1)).all() and (array.sum(0) == 1).all()):
        raise DataError(f"{path} holds {name} that do not name one alphabet each; is it the right file?")
    labels: NDArray[np.uint8] = array.argmax(0).astype(np.uint8)
    return labels
