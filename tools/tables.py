"""Writes the tables of README: `python -m tools.tables`.

They are the estimators, the shipped models, the paper's tables, the house and the mutants.
"""

from collections.abc import Iterator
from pathlib import Path

from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS, Estimator
from iwae_core.models import MODELS
from iwae_lab.paper.results import read
from iwae_lab.shipped.manifest import SHIPPED, manifest, stages
from iwae_lab.words.numbers import markdown, minus
from tests.support.enumeration import CASES
from tools import house, reproduced
from tools.mutation import score

ROOT = Path(__file__).parents[1]
HEAD = ("name", "θ climbs", "φ climbs", "unbiased", "gradient path", "works with", "mean verified exactly on", "source")
MODELS_HEAD = ("name", "trained by", "on", "steps", "test NLL", "ELBO", "active units", "bits a weight", "MB")


def tables() -> dict[str, str]:
    """Each table in Markdown, by the name in its marks."""
    return {
        "estimators": markdown(HEAD, estimator_rows(), left=len(HEAD)),
        "models": markdown(MODELS_HEAD, model_rows(), left=3),
        "reproduced": reproduced.tables(read()),
        "house": markdown(house.HEAD, house.rows(), left=len(house.HEAD)),
        "mutation": markdown(score.HEAD, score.rows()),
    }


def marked(name: str, text: str) -> str:
    """A table between its marks, as README has it."""
    return f"<!-- {name}: written by python -m tools.tables -->\n{text}\n<!-- end of {name} -->\n"


def model_rows() -> Iterator[tuple[str, ...]]:
    """One row for each shipped model."""
    for name, entry in manifest().items():
        spec = entry["spec"]
        objectives = " → ".join(f"{ESTIMATORS[estimator].label}, k = {k}" for estimator, k in stages(spec))
        trained = f"{objectives}, `{spec['model']}`"
        data = f"{DATASETS[entry['dataset']].label}, {entry['binarisation']}"
        nll, elbo = f"{entry['nll']:.2f} ± {2 * entry['nll_stderr']:.2f}", minus(entry["elbo"], 2)
        active, size = ", ".join(map(str, entry["active_units"])), (SHIPPED / entry["file"]).stat().st_size / 1e6
        yield f"`{name}`", trained, data, f"{entry['step']:,}", nll, elbo, active, str(entry["bits"]), f"{size:.2f}"


def estimator_rows() -> Iterator[tuple[str, ...]]:
    """One row for each estimator."""
    paths = [build().model.paths for build in CASES.values()]
    for name, e in ESTIMATORS.items():
        checked = f"{sum(e.path in offered for offered in paths)} models" if e.unbiased else "its limit in k only"
        bias = "yes" if len(e.unbiased) == 2 else f"no: {e.bias}".replace("phi", "φ")
        yield f"`{name}`", e.theta, e.phi, bias, e.path, works_with(e), checked, e.source


def works_with(estimator: Estimator) -> str:
    """The models that offer the estimator's path, and the least k if it is not 1."""
    offering = [name for name in MODELS if estimator.path in MODELS[name].paths]
    if len(offering) == len(MODELS):
        latents = "any h"
    else:
        latents = "one Gaussian layer" if "two_layer" not in offering else "continuous h"
    return f"{latents}, k ≥ {estimator.least_k}" if estimator.least_k > 1 else latents


def main() -> None:
    """Put each table between its marks."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, table in tables().items():
        begin, end = marked(name, "\0").split("\0")
        text = text[: text.index(begin)] + marked(name, table) + text[text.index(end) + len(end) :]
    readme.write_text(text)


if __name__ == "__main__":
    main()
