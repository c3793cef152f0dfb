"""Writes the table of estimators into README from the registry; a test checks that it is up to date."""

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from enumeration import CASES  # noqa: E402

from iwae_core.estimators import ESTIMATORS, Estimator  # noqa: E402
from iwae_core.models import MODELS  # noqa: E402

BEGIN, END = "<!-- estimators: written by tools/tables.py -->\n", "<!-- end of estimators -->\n"
HEAD = "| name | θ climbs | φ climbs | unbiased | gradient path | works with | mean verified exactly on | source |\n"


def table() -> str:
    """One row for each estimator, in Markdown."""
    return HEAD + "|:--|:--|:--|:--|:--|:--|:--|:--|\n" + "".join(rows())


def rows() -> Iterator[str]:
    """The rows of `table`."""
    paths = [build().model.paths for build in CASES.values()]
    for name, entry in ESTIMATORS.items():
        e = entry.item
        checked = f"{sum(e.path in offered for offered in paths)} models" if e.unbiased else "its limit in k only"
        bias = "yes" if len(e.unbiased) == 2 else f"no: {e.bias}".replace("phi", "φ")
        cells = (f"`{name}`", e.theta, e.phi, bias, e.path, works_with(e), checked, e.source)
        yield "| " + " | ".join(cells) + " |\n"


def works_with(estimator: Estimator) -> str:
    """The models that offer the estimator's path, and the least k if it is not 1."""
    offering = [name for name in MODELS if estimator.path in MODELS[name].facts["paths"]]
    if len(offering) == len(MODELS):
        latents = "any h"
    else:
        latents = "one Gaussian layer" if "two_layer" not in offering else "continuous h"
    return f"{latents}, k ≥ {estimator.least_k}" if estimator.least_k > 1 else latents


def main() -> None:
    """Put the table between its marks."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(before + BEGIN + table() + END + after)


if __name__ == "__main__":
    main()
