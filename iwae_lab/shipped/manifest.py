"""What each shipped model is, the SHA-256 of its file, and what it achieves on test images, measured after storing."""

import json
from collections.abc import Mapping
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
    """The shipped models, or those of one network such as "one_layer" and one objective, in the order of shipping."""
    found = {name: entry["spec"] for name, entry in manifest(folder).items()}
    return tuple(
        name for name, spec in found.items() if model is None or (spec["model"] == model and not spec["swaps"])
    )


def stages(spec: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Estimator and k of each objective that a shipped model was trained by, in turn."""
    return [(stage["estimator"], stage["k"]) for stage in (spec, *spec["swaps"])]
