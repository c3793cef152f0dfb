"""Data sets by name."""

# In the order in which they are shown.
# isort: off
from iwae_core.data import mnist  # noqa: F401
from iwae_core.data import omniglot  # noqa: F401
from iwae_core.data import fashion_mnist  # noqa: F401

# isort: on
from iwae_core.data.binarisation import BINARISATIONS, Binarisation
from iwae_core.data.dataset import DATASETS, Dataset, DataSource, binarise
from iwae_core.data.files import DataError
from iwae_core.registry import discover

discover(__name__, __path__)
__all__ = ["BINARISATIONS", "DATASETS", "Binarisation", "DataError", "DataSource", "Dataset", "binarise"]
