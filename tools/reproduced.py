"""The paper's tables with results of our own, as README has them."""

from collections.abc import Iterator, Mapping

from iwae_core.data import DATASETS
from iwae_core.evaluation.estimate import Estimate
from iwae_lab.paper.cells import PAPER, TABLE_2, Cell
from iwae_lab.paper.groups import reference
from iwae_lab.paper.results import Result
from iwae_lab.words.numbers import markdown, plus_minus

NOT_RUN = "not yet run"
HEAD = ("data", "layers", "k", "VAE", "paper", "IWAE", "paper", "IWAE ahead by")
HEAD_2 = ("first", "test NLL", "paper", "then", "test NLL", "paper", "gained")


def tables(results: Mapping[Cell, Result]) -> str:
    """Table 1, Table 2, and of what experiments ours are."""
    blocks = [markdown(HEAD, table_1(results)), markdown(HEAD_2, table_2(results)), *experiments(results)]
    return "\n\n".join(blocks)


def table_1(results: Mapping[Cell, Result]) -> Iterator[tuple[str, ...]]:
    """A row for each data set, network and k."""
    for cell in PAPER:
        if cell.estimator == "vae" and not cell.before:
            iwae = Cell(cell.dataset, cell.layers, "iwae", cell.k)
            label, lead = DATASETS[cell.dataset].label, "0, one model" if cell.k == 1 else ahead(results.get(iwae))
            sizes = label, str(cell.layers), str(cell.k)
            yield *sizes, ours(results, cell), papers(cell), ours(results, iwae), papers(iwae), lead


def table_2(results: Mapping[Cell, Result]) -> Iterator[tuple[str, ...]]:
    """A row for each model that goes on with another objective."""
    for cell in TABLE_2:
        first = reference(cell)
        assert first is not None
        before = first.label, ours(results, first), papers(first)
        after = Cell(cell.dataset, cell.layers, cell.estimator, cell.k).label, ours(results, cell), papers(cell)
        yield *before, *after, ahead(results.get(cell))


def ours(results: Mapping[Cell, Result], cell: Cell) -> str:
    """Test NLL with two standard errors and active units."""
    found = results.get(cell.model)
    return f"{plus_minus(Estimate(found.nll, found.nll_stderr))} ({units(found.active_units)})" if found else NOT_RUN


def papers(cell: Cell) -> str:
    """Test NLL and active units that the paper reports."""
    return f"{PAPER[cell].nll:.2f} ({units(PAPER[cell].active_units)})"


def units(counts: tuple[int, ...]) -> str:
    """Active units of each layer."""
    return "+".join(map(str, counts))


def ahead(found: Result | None) -> str:
    """The paired difference with two standard errors."""
    if found is None or found.lead is None or found.lead_stderr is None:
        return ""
    return plus_minus(Estimate(found.lead, found.lead_stderr), sign=True)


def experiments(results: Mapping[Cell, Result]) -> Iterator[str]:
    """How much of the paper's training ours had, how it was evaluated, and how long it took."""
    for kind in dict.fromkeys(map(_kind, results.values())):
        share, seed, binarisation, images, samples, machine = kind
        # Models that were trained together each tell the seconds of all.
        spent = {(row.seconds, row.evaluation_seconds) for row in results.values() if _kind(row) == kind}
        experiment = f"Ours: {share} of the paper's training, {binarisation} binarisation, seed {seed}"
        effort = f"{sum(map(sum, spent)) / 3600:.1f} hours of training and evaluation on {machine}"
        yield f"{experiment}; L_{samples} on {images:,} test images; {effort}."


def _kind(row: Result) -> tuple[str, int, str, int, int, str]:
    return row.share, row.seed, row.binarisation, row.images, row.samples, row.machine
