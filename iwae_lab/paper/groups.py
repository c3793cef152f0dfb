"""The experiments that fill the cells, at a share of the paper's schedule; cells of one k and network in lockstep."""

from fractions import Fraction
from typing import NamedTuple

from iwae_core.training.schedules import PASSES, PASSES_AFTER_SWAP
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.paper.cells import TABLE_2, Cell

BATCH = 20
IMAGES = {"mnist": 60_000, "omniglot": 24_345}  # for training
TEST_IMAGES = {"mnist": 10_000, "omniglot": 8_070}
NETWORKS = {1: "one_layer", 2: "two_layer"}
# Of the evaluations during training, to see how it goes; those that count are made afterwards, of all test images.
EVAL_IMAGES, EVAL_K = 100, 1000
# Layers and k in the order of importance: an interruption leaves what matters most.
ORDER = ((1, 1), (1, 5), (1, 50), (2, 50), (2, 1), (2, 5))


class Group(NamedTuple):
    """Models trained in lockstep; at k = 1 there is one, the VAE and the IWAE alike."""

    name: str
    cells: tuple[Cell, ...]

    def spec(self, share: Fraction, seed: int = 0) -> ExperimentSpec:
        """The paper's experiment, its stages scaled by `share`: batches of 20, the paper's rates.

        A cell of Table 2 goes on after its first stage for as many further passes as the paper's, in proportion.
        """
        first = self.cells[0]
        steps = max(1, round(PASSES * (IMAGES[first.dataset] // BATCH) * share))
        runs, swaps = [], []
        for number, cell in enumerate(self.cells):
            runs.append(RunSpec(*(cell.before or (cell.estimator, cell.k)), NETWORKS[cell.layers], backward="all"))
            if cell.before:
                swaps.append(Swap(run=number, step=steps, estimator=cell.estimator, k=cell.k))
        return ExperimentSpec(
            tuple(runs),
            dataset=first.dataset,
            batch_size=BATCH,
            steps=round(Fraction(steps * (PASSES + PASSES_AFTER_SWAP), PASSES)) if swaps else steps,
            seed=seed,
            eval_images=EVAL_IMAGES,
            eval_k=EVAL_K,
            schedule="burda_swap" if swaps else "burda",
            swaps=tuple(swaps),
        )

    @property
    def label(self) -> str:
        """Its cells, for people."""
        names = " and ".join(cell.label for cell in self.cells)
        return f"{self.cells[0].place}: {'VAE = IWAE, k = 1' if len(self.cells) == 1 else names}"


def _table_1(dataset: str, layers: int, k: int) -> Group:
    estimators = ("vae",) if k == 1 else ("vae", "iwae")
    return Group(f"{dataset}_l{layers}_k{k}", tuple(Cell(dataset, layers, name, k) for name in estimators))


def _groups(dataset: str) -> list[Group]:
    swaps = tuple(cell for cell in TABLE_2 if cell.dataset == dataset)
    return [_table_1(dataset, *sizes) for sizes in ORDER] + ([Group(f"{dataset}_swap", swaps)] if swaps else [])


# Of MNIST first, each data set's in the order of importance.
GROUPS = {group.name: group for dataset in IMAGES for group in _groups(dataset)}


def home(cell: Cell) -> tuple[Group, int]:
    """The group in which a cell's model is trained, and the number of its run there."""
    return next((group, group.cells.index(cell.model)) for group in GROUPS.values() if cell.model in group.cells)


def reference(cell: Cell) -> Cell | None:
    """The cell that one is compared with: what it was before its swap, or the VAE of the same k."""
    if cell.before:
        return Cell(cell.dataset, cell.layers, *cell.before)
    return Cell(cell.dataset, cell.layers, "vae", cell.k) if cell.model.estimator != "vae" else None
