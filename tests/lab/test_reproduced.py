"""Results beside the paper's: the figure, its words, and the tables of README."""

import math

import pytest

from iwae_lab.figures import reproduced, reproduced_summary
from iwae_lab.paper.cells import PAPER, Cell
from iwae_lab.paper.results import Result, read, to_json
from tools import reproduced as tables

VAE, IWAE = (Cell("mnist", 1, name, 5) for name in ("vae", "iwae"))
K1 = Cell("mnist", 1, "vae", 1)
SWAPPED = Cell("mnist", 1, "iwae", 50, before=("vae", 1))


def result(cell: Cell, nll: float, lead: float | None = None, layers: int = 1) -> Result:
    return Result(
        cell,
        nll=nll,
        nll_stderr=0.25,
        elbo=-nll - 1,
        elbo_stderr=0.5,
        active_units=(20, 6)[:layers],
        lead=lead,
        lead_stderr=None if lead is None else 0.03,
        images=10_000,
        samples=5000,
        share="1/30",
        steps=328_000,
        seed=0,
        binarisation="dynamic",
        seconds=3600.0 * cell.k,
        evaluation_seconds=360.0,
        machine="2 cores of a processor",
    )


FOUND = {
    found.cell: found
    for found in (result(K1, 88.5), result(VAE, 88.0), result(IWAE, 87.25, 0.75), result(SWAPPED, 87.0, 1.5))
}


def test_results_come_back_from_their_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "results.json"
    assert read(file) == {}
    file.write_text(to_json(FOUND.values()))
    assert read(file) == FOUND


def test_the_figure_has_every_model_of_ours_and_of_the_paper() -> None:
    figure = reproduced(FOUND)
    marks = {trace.name: trace for trace in figure.data if trace.name}
    assert list(marks) == ["VAE", "VAE, paper", "IWAE", "IWAE, paper"]
    assert marks["VAE"].x == pytest.approx([88.5, 88.0])
    assert marks["IWAE"].x == pytest.approx([87.25, 87.0])
    assert marks["IWAE"].error_x.array == pytest.approx([0.5, 0.5]), "two standard errors"
    lead = "87.25<br>ahead of VAE, k = 5 by +0.75 ± 0.06"
    assert marks["IWAE"].hovertext == (lead, "87.00<br>ahead of VAE, k = 1 by +1.50 ± 0.06")
    assert marks["VAE"].hovertext == ("88.50", "88.00")
    assert marks["VAE, paper"].x == pytest.approx([86.76, 86.47, 86.35, 85.33, 85.01, 84.78, 86.02])
    assert marks["IWAE, paper"].x == pytest.approx([85.54, 84.78, 83.89, 82.90, 84.88])
    rows = figure.layout.yaxis.ticktext
    assert rows[:3] == ("1 layer, k = 1", "1 layer, k = 5", "1 layer, k = 50")
    assert rows[-2:] == ("VAE → IWAE", "IWAE → VAE")
    for trace in marks.values():  # each mark is in the row of its cell
        assert all(abs(y - round(y)) < 0.3 for y in trace.y)
    assert round(marks["IWAE"].y[1]) == -rows.index("VAE → IWAE")
    assert marks["IWAE, paper"].text == ("", "not yet run", "not yet run", "not yet run", "")
    joints = [trace for trace in figure.data if not trace.name]
    assert [x for x in joints[1].x if not math.isnan(x)] == pytest.approx([87.25, 85.54, 87.0, 84.88])


def test_what_has_not_been_run_is_said() -> None:
    words = reproduced_summary(FOUND)
    assert "1 layer, k = 5, IWAE: 87.25, ahead of VAE, k = 5 by +0.75 ± 0.06, paper 85.54" in words
    assert "2 layers, k = 50, IWAE: not yet run, paper 82.90" in words
    assert "OMNIGLOT" not in words
    nothing = reproduced({}, "omniglot")
    assert [len(trace.x) for trace in nothing.data if trace.name] == [0, 6, 0, 4]
    assert reproduced_summary({}, "omniglot").count("not yet run") == 10


def test_the_tables_of_readme() -> None:
    text = tables.tables(FOUND)
    lines = text.splitlines()
    assert "| MNIST | 1 | 1 | 88.50 ± 0.50 (20) | 86.76 (19) | 88.50 ± 0.50 (20) | 86.76 (19) | 0, one model |" in lines
    assert "| MNIST | 1 | 5 | 88.00 ± 0.50 (20) | 86.47 (20) | 87.25 ± 0.50 (20) | 85.54 (22) | +0.75 ± 0.06 |" in lines
    assert "| MNIST | 2 | 50 | not yet run | 84.78 (17+5) | not yet run | 82.90 (26+7) |  |" in lines
    first = "| VAE, k = 1 | 88.50 ± 0.50 (20) | 86.76 (19) |"
    assert f"{first} IWAE, k = 50 | 87.00 ± 0.50 (20) | 84.88 (22) | +1.50 ± 0.06 |" in lines
    assert "| IWAE, k = 50 | not yet run | 84.78 (25) | VAE, k = 1 | not yet run | 86.02 (23) |  |" in lines
    # An hour for k = 1, five for the pair with k = 5, fifty for the swap; each evaluated in a tenth of an hour.
    assert lines[-1] == (
        "Ours: 1/30 of the paper's training, dynamic binarisation, seed 0; L_5000 on 10,000 test images; "
        "56.3 hours of training and evaluation on 2 cores of a processor."
    )
    assert tables.tables({}).count("not yet run") == 2 * 12 + 4
    assert text.count("| OMNIGLOT |") == 6


def test_shipped_results_are_of_cells_of_the_paper() -> None:
    found = read()
    assert found.keys() <= PAPER.keys()
    for cell, row in found.items():
        assert (row.images, row.samples) == ({"mnist": 10_000, "omniglot": 8_070}[cell.dataset], 5000)
        assert len(row.active_units) == cell.layers
        assert 0 < row.nll_stderr < 1
        assert row.nll < -row.elbo
