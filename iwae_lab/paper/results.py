"""Results of our own beside the paper's: what `iwae reproduce` writes, and what of it ships with the program."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iwae_lab.paper.cells import SOURCE, Cell

SHIPPED = Path(__file__).parents[1] / "assets" / "reproduced" / "results.json"


@dataclass(frozen=True)
class Result:
    """What a cell's model achieves on test images, in nats an image, with standard errors over them.

    `nll` is minus L_k at k = `samples`. `lead` is the paired difference of L_k from the model it is compared with (see
    `reference`), None where there is none. `seconds` are those of training, of all models of its group together.
    """

    cell: Cell
    nll: float
    nll_stderr: float
    elbo: float
    elbo_stderr: float
    active_units: tuple[int, ...]
    lead: float | None
    lead_stderr: float | None
    images: int
    samples: int
    share: str
    steps: int
    seed: int
    binarisation: str
    seconds: float
    evaluation_seconds: float
    machine: str


def to_json(results: Iterable[Result]) -> str:
    """The results as one JSON object, indented for people."""
    return json.dumps({"compared with": SOURCE, "cells": [asdict(result) for result in results]}, indent=1) + "\n"


def read(path: Path = SHIPPED) -> Mapping[Cell, Result]:
    """The results in a file, by cell; none if there is no file."""
    cells = json.loads(path.read_text())["cells"] if path.exists() else []
    return {result.cell: result for result in map(_result, cells)}


def _result(values: dict[str, Any]) -> Result:
    cell = values["cell"]
    before = tuple(cell["before"]) if cell["before"] else None
    return Result(**values | {"cell": Cell(**cell | {"before": before}), "active_units": tuple(values["active_units"])})
