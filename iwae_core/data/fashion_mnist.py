"""Fashion-MNIST, from a folder of the user's: ten kinds of clothes in the format and the sizes of MNIST."""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iwae_core.data.dataset import DATASETS, Dataset, dataset_of
from iwae_core.data.files import DataError, named_folder, read_bytes
from iwae_core.data.idx import parse

VARIABLE, LABEL = "IWAE_FASHION_MNIST_DIR", "Fashion-MNIST"
PLACE = "the four files of github.com/zalandoresearch/fashion-mnist, data/fashion,"
CLASSES = 10  # all of one size
# stem: (shape, MD5 of the .gz file as its authors publish it)
FILES = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    "train-labels-idx1-ubyte": ((60_000,), "25c81989df183df01b3e8a0aad5dffbe"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), "bef4ecab320f06d8554ea6380940ec79"),
    "t10k-labels-idx1-ubyte": ((10_000,), "bb300cfdad3c16e7a12a480ee83cd310"),
}


@DATASETS.register("fashion_mnist", label=LABEL, source="Xiao, Rasul & Vollgraf 2017, MIT licence")
def fashion_mnist() -> Dataset:
    """The 60,000 + 10,000 images from `IWAE_FASHION_MNIST_DIR`.

    Raises:
        DataError: no folder is named, or a file is missing, truncated or altered.
    """
    return _load(named_folder(VARIABLE, LABEL, PLACE))


@lru_cache(maxsize=1)
def _load(directory: Path) -> Dataset:
    return dataset_of(*(_read(directory, stem) for stem in FILES))


def _read(directory: Path, stem: str) -> NDArray[np.uint8]:
    shape, expected = FILES[stem]
    path, content = read_bytes(directory, stem, PLACE)
    array = parse(content, shape, path)
    if path.suffix == ".gz" and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != expected:
        raise DataError(f"{path} is not the file that its authors publish (MD5 {expected}); replace it")
    if len(shape) == 1 and np.bincount(array, minlength=CLASSES).tolist() != [len(array) // CLASSES] * CLASSES:
        raise DataError(f"{path} does not hold {CLASSES} classes of equal size; is it of another data set?")
    return array
