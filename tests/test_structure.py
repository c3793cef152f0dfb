"""What the layout promises: imports point one way, and the container installs what the requirements ask for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CORE, PAGE = ROOT / "iwae_core", ROOT / "ui"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def importers(files: list[Path], package: str) -> list[str]:
    assert files
    return [str(file) for file in files if any(name.split(".")[0] == package for name in imports(file))]


def test_the_core_never_imports_streamlit_or_the_page() -> None:
    files = sorted(CORE.rglob("*.py"))
    assert len(files) > 15
    assert importers(files, "streamlit") == []
    assert importers(files, "ui") == []


def test_the_page_and_the_figures_never_import_torch() -> None:
    figures = sorted((CORE / "figures").glob("*.py"))
    assert len(figures) > 4
    files = [*PAGE.rglob("*.py"), ROOT / "app.py", *figures, CORE / "history.py", CORE / "events.py"]
    assert importers(files, "torch") == []


ORDER = ("curves", "bounds", "draws", "estimators", "models", "evaluate", "spec", "train", "engines")


@pytest.mark.parametrize(("lower", "higher"), [(a, b) for i, a in enumerate(ORDER) for b in ORDER[i + 1 :]])
def test_imports_point_one_way(lower: str, higher: str) -> None:
    files = [CORE / f"{lower}.py"] if (CORE / f"{lower}.py").exists() else sorted((CORE / lower).glob("*.py"))
    assert files
    used = {".".join(name.split(".")[:2]) for file in files for name in imports(file)}
    assert f"iwae_core.{higher}" not in used


def test_the_lock_satisfies_the_requirements() -> None:
    locked = dict(re.findall(r"^([\w-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.M))
    wanted = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert len(wanted) > 4
    for requirement in wanted:
        assert requirement.specifier.contains(locked[requirement.name]), f"run make lock: {requirement}"
