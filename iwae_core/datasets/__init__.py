"""Data sets by name."""

from iwae_core.datasets import mnist  # noqa: F401  (registers itself)
from iwae_core.datasets.dataset import DATASETS, Dataset, binarise
from iwae_core.datasets.idx import DataError

__all__ = ["DATASETS", "DataError", "Dataset", "binarise"]
