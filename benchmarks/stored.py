"""Numbers that take long to measure, kept one by one: what was found before an interruption is not measured again."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from iwae_core.training.starts import RANDOM
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.proof import PROOF


class Stored:
    """What was found so far, a row for each training, from what it starts, and how it was measured.

    Without a path nothing is kept. What was measured otherwise, on another processor or from another model is replaced.
    """

    def __init__(self, path: Path | None, start: str = PROOF.start, **how: int | str) -> None:
        self._path = path
        model = {"model": start} | ({"sha256": manifest()[start]["sha256"]} if start != RANDOM else {})
        self._how: Mapping[str, Any] = {**model, **how, "processor": machine()["processor"]}
        before = json.loads(path.read_text()) if path and path.exists() else {}
        self.found: list[list[Any]] = before["found"] if self._how.items() <= before.items() else []

    def add(self, row: Sequence[Any]) -> None:
        """Keep a row, and say it."""
        self.found.append(list(row))
        print(*row, file=sys.stderr)
        if self._path:
            text = json.dumps({**self._how, "date": date.today().isoformat(), "found": self.found})
            self._path.write_text(text.replace("[[", "[\n[").replace("], [", "],\n[") + "\n")  # a line for each row
