"""The plan of the house: three packages, each with its floors. A test checks every import; README shows the rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Each package from the ground up. A folder, or a file beside the folders, imports from floors below its own only.
FLOORS: dict[str, list[set[str]]] = {
    "iwae_core": [
        {"registry", "randomness", "device"},
        {"bounds", "data"},
        {"draws"},
        {"estimators", "models", "black_box"},
        {"exact", "evaluation"},
        {"training"},
    ],
    "iwae_lab": [
        {"paper"},
        {"arguments", "history", "records"},
        {"engines", "figures", "shipped", "words"},
        {"lessons", "reproducing", "sweeping", "take_home"},
        {"cli"},
        {"__main__"},
    ],
    "ui": [
        {"markdown", "navigation", "server"},
        {"demo", "session", "settings", "visitor"},
        {"panel"},
        {"controls", "live"},
        {"lessons", "pages"},
    ],
}
PACKAGES = tuple(FLOORS)  # from the ground up, too
PLACE = {
    (package, room): (PACKAGES.index(package), floor)
    for package, floors in FLOORS.items()
    for floor, rooms in enumerate(floors)
    for room in rooms
}


HEAD = ("room", "what it holds", "files")


def rows() -> Iterator[tuple[str, str, str]]:
    """Every room from the ground up: what it holds in its own words, and its files; Markdown."""
    for package, floors in FLOORS.items():
        yield f"**`{package}/`**", f"**{_said(ROOT / package)}**", ""
        yield from (_row(package, room) for floor in floors for room in sorted(floor))


def _row(package: str, room: str) -> tuple[str, str, str]:
    folder = ROOT / package / room
    files = ", ".join(f"`{name}`" for name in _files(folder)) if folder.is_dir() else ""
    name = f"{room}/" if folder.is_dir() else f"{room}.py"
    return f"`{package}/{name}`", _said(folder), files


def _files(folder: Path) -> Iterator[str]:
    yield from sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def _said(place: Path) -> str:
    """The first paragraph of the docstring of a package or a module, up to its first full stop."""
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    first = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].split())
    return first.partition(". ")[0].rstrip(".").replace("|", r"\|")
