"""Data sets by name."""

from iwae_core.data import mnist  # noqa: F401  (shown first)
from iwae_core.data.dataset import DATASETS, Dataset, DataSource, binarise
from iwae_core.data.idx import DataError
from iwae_core.registry import discover

discover(__name__, __path__)
__all__ = ["DATASETS", "DataError", "DataSource", "Dataset", "binarise"]
