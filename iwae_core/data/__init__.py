"""Data sets by name."""

from iwae_core.data import mnist  # noqa: F401  (registers itself)
from iwae_core.data.dataset import DATASETS, Dataset, binarise
from iwae_core.data.idx import DataError

__all__ = ["DATASETS", "DataError", "Dataset", "binarise"]
