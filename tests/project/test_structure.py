"""What the layout promises: three packages, folders as floors, imports that point down, and an honest lock."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.house import PACKAGES, PLACE, ROOT

FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
BARRED = {"iwae_core": {"streamlit", "plotly", "iwae_lab", "ui", "benchmarks", "tests"}}
BARRED["iwae_lab"] = {"streamlit", "ui", "benchmarks", "tests"}
BARRED["ui"] = {"torch", "tests", "benchmarks"}


def imported(path: Path) -> Iterator[str]:
    """Every module a file imports, and every name from one: `a.b` and `a.b.c` for `from a.b import c`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports say in full what they import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> tuple[str, str] | None:
    """The package and the folder, or the file beside the folders, that a module is in; None outside the house."""
    package, _, rest = module.partition(".")
    return (package, rest.partition(".")[0]) if package in PACKAGES and rest else None


def of(path: Path) -> tuple[str, str] | None:
    return room(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = of(path)
    for name in imported(path):
        assert name.partition(".")[0] not in BARRED[path.relative_to(ROOT).parts[0]], name
        there = room(name)
        if here is None or there is None or here == there or there not in PLACE:
            continue  # the face of a package, or a name that is no module
        assert PLACE[there] < PLACE[here], f"{'.'.join(here)} is not above {'.'.join(there)}"


def test_every_file_has_a_floor() -> None:
    rooms = {found for path in FILES if (found := of(path))}
    assert rooms == set(PLACE)


def test_figures_and_what_they_read_handle_no_tensors() -> None:
    files = [*(ROOT / "iwae_lab" / "figures").glob("*.py"), *(ROOT / "iwae_lab" / "history").glob("*.py")]
    assert len(files) > 8
    assert not [file for file in files if "torch" in imported(file)]


@pytest.mark.parametrize("name", ["requirements", "requirements-cluster"])
def test_the_lock_satisfies_the_requirements(name: str) -> None:
    locked = dict(re.findall(r"^([\w-]+)==([^\s;\\]+)", (ROOT / f"{name}.lock").read_text(), re.M))
    files = {ROOT / "requirements.txt", ROOT / f"{name}.txt"}
    wanted = [Requirement(line) for file in files for line in file.read_text().splitlines()]
    assert len(wanted) > 4
    for requirement in wanted:
        assert requirement.specifier.contains(locked[requirement.name]), f"run make lock: {requirement}"
