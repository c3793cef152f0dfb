"""What each shipped model is, the SHA-256 of its file, and what it achieves on test images, measured after storing."""

import json
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[1] / "assets" / "models"
MANIFEST = "manifest.json"


def manifest(folder: Path = SHIPPED) -> dict[str, dict[str, Any]]:
    """For each shipped model: its specification, file, SHA-256, size and test results; empty if nothing is shipped."""
    path = folder / MANIFEST
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return entries


def names(model: str | None = None, folder: Path = SHIPPED) -> tuple[str, ...]:
    """The shipped models, or those of one network such as "one_layer", in the order of shipping."""
    return tuple(name for name, entry in manifest(folder).items() if model in (None, entry["spec"]["model"]))
