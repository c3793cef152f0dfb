"""Mutants that need everything imported anew: of what is done while a module is imported, and of what the quick way
lets pass. Each is a changed file in a copy of the repository, and a child runs pytest there as `make test` does.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools.mutation.mutants import Mutant
from tools.mutation.session import ROOT, Touched, concerned, in_child

LEFT_OUT = shutil.ignore_patterns(".*", "runs", "site", "dist", "__pycache__")
UNDER_TEST = {"iwae_core", "iwae_lab", "tests", "tools"}
IMPORTS = 60.0  # seconds, generous, before the first test


class Chosen:
    """A pytest plugin that leaves the chosen tests, in their order."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what was chosen."""
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in self.names if name in found]


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of what is under test, in which files may be changed."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    yield copy
    shutil.rmtree(copy)


def import_the_rest() -> None:
    """What the tests import that is not under test: children then have it already."""
    import beartype  # noqa: F401
    import hypothesis  # noqa: F401
    import jaxtyping  # noqa: F401
    import playwright.sync_api  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import torch  # noqa: F401


def verdict(mutant: Mutant, copy: Path, touched: Touched, seconds: float) -> str:
    """What becomes of a mutant whose file is imported anew."""
    names = concerned(mutant, touched, seconds)
    if not names:
        return "no test"
    file = copy / mutant.path
    original = file.read_text()
    file.write_text(mutant.source)
    try:
        return in_child(lambda: _tested(copy, names), IMPORTS + sum(touched[name]["seconds"] for name in names))
    finally:
        file.write_text(original)


def _tested(copy: Path, names: list[str]) -> int:
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
    sys.dont_write_bytecode = True
    for name in [name for name in sys.modules if name.partition(".")[0] in UNDER_TEST]:
        del sys.modules[name]
    files = sorted({name.partition("::")[0] for name in names})
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(bool(pytest.main([*options, *files], plugins=[Chosen(names)])))
