"""What is compared with what."""

from pathlib import Path
from typing import NamedTuple

CONTESTANTS = Path(__file__).parent / "contestants"
PEERS = {
    "pythae_iwae": "pythae",
    "pyro_renyi": "Pyro",
    "numpyro_renyi": "NumPyro",
    "tensorflow_probability": "TFP",
}
LIMITS = {"matmul": "matrix products", "matmul_bfloat16": "the same in bfloat16"}
CELLS = ((20, 1), (20, 50), (100, 1), (100, 5), (100, 50), (100, 500))
FASTEST, LONG = ("numpyro_renyi", "tensorflow_probability"), 25_000  # who waits for steps of so many samples


class Entry(NamedTuple):
    """A contestant's file and the size of its steps."""

    file: Path
    batch: int
    k: int

    @property
    def name(self) -> str:
        """The contestant's name, that of its file."""
        return self.file.stem

    def facts(self) -> dict[str, str | int]:
        """For JSON."""
        return {"contestant": self.name, "batch": self.batch, "k": self.k}


class Comparison(NamedTuple):
    """Entries measured in turn; the first is this project, and what the others are compared with."""

    name: str
    entries: tuple[Entry, ...]


def training(batch: int, k: int) -> Comparison:
    """One training step of everybody, and the matrix products it is made of; long steps of the fastest alone."""
    ours = ("core", "core_counting") if k > 1 else ("core",)  # of one sample every row counts
    others = FASTEST if batch * k > LONG else ("plain_torch", *PEERS)
    return Comparison("training", tuple(entry(name, batch, k) for name in (*ours, *others, *LIMITS)))


def evaluation(images: int, k: int) -> Comparison:
    """L_m at every m of the grid, L_k alone, and the matrix products."""
    names = ("core_evaluation", "core_last_k", "matmul_forward")
    return Comparison("evaluation", tuple(entry(name, images, k) for name in names))


def entry(name: str, batch: int, k: int) -> Entry:
    """One of the contestants of this folder."""
    return Entry(CONTESTANTS / f"{name}.py", batch, k)


FULL = (
    *(training(*cell) for cell in CELLS),
    Comparison("one_sample", (entry("core_one_sample", 100, 50), entry("core", 100, 50))),
    Comparison("linearity", (entry("core", 100, 50), entry("core", 100, 500))),
    evaluation(20, 5000),
)
QUICK = (training(20, 5), evaluation(2, 100))
