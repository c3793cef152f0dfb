"""The cells of the paper's tables and what it reports in each."""

from dataclasses import dataclass
from typing import NamedTuple

from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS

SOURCE = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders, tables 1 and 2"


@dataclass(frozen=True)
class Cell:
    """A model of Table 1; or of Table 2, where it goes on with another estimator and k than it had `before`."""

    dataset: str
    layers: int
    estimator: str
    k: int
    before: tuple[str, int] | None = None

    @property
    def label(self) -> str:
        """Its estimators and k, for people."""
        stages = (self.before, (self.estimator, self.k)) if self.before else ((self.estimator, self.k),)
        return " → ".join(f"{ESTIMATORS[name].label}, k = {k}" for name, k in filter(None, stages))

    @property
    def place(self) -> str:
        """The part of the tables it stands in, for people."""
        layers = "one stochastic layer" if self.layers == 1 else "two stochastic layers"
        return f"{DATASETS[self.dataset].label}, {layers}"

    @property
    def model(self) -> "Cell":
        """The cell whose model this is too: with one sample, VAE and IWAE are the same."""
        return Cell(self.dataset, self.layers, "vae", 1) if self.k == 1 and self.before is None else self


class Reported(NamedTuple):
    """Test NLL in nats, and active units of each stochastic layer, nearest to x first."""

    nll: float
    active_units: tuple[int, ...]


# Layers, k; then MNIST by VAE and by IWAE, and OMNIGLOT by VAE and by IWAE: test NLL and active units.
TABLE_1 = (
    (1, 1, (86.76, 19), (86.76, 19), (108.11, 28), (108.11, 28)),
    (1, 5, (86.47, 20), (85.54, 22), (107.62, 28), (106.12, 34)),
    (1, 50, (86.35, 20), (84.78, 25), (107.80, 28), (104.67, 41)),
    (2, 1, (85.33, 16, 5), (85.33, 16, 5), (107.58, 28, 4), (107.56, 30, 5)),
    (2, 5, (85.01, 17, 5), (83.89, 21, 5), (106.31, 30, 5), (104.79, 38, 6)),
    (2, 50, (84.78, 17, 5), (82.90, 26, 7), (106.30, 30, 5), (103.38, 44, 7)),
)
TABLE_2 = {
    Cell("mnist", 1, "iwae", 50, before=("vae", 1)): Reported(84.88, (22,)),
    Cell("mnist", 1, "vae", 1, before=("iwae", 50)): Reported(86.02, (23,)),
}
PAPER: dict[Cell, Reported] = {
    Cell(dataset, layers, estimator, k): Reported(nll, tuple(map(int, active)))
    for start, dataset in ((0, "mnist"), (2, "omniglot"))
    for layers, k, *reported in TABLE_1
    for estimator, (nll, *active) in zip(("vae", "iwae"), reported[start : start + 2], strict=True)
} | TABLE_2
