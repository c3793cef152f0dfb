"""Where on a cluster an experiment is, kept in its folder: whoever comes after this server finds it again."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from iwae_lab.records.files import FOREIGN, replace

PLACEMENT = "placement.json"


@dataclass(frozen=True)
class Placement:
    """The attempts at an experiment are numbered: what an earlier one still tells is not heard any more."""

    attempt: int = 0
    worker: str = ""  # its address; none if nothing iterates it
    pace: str = ""  # the last order about when steps are made, encoded
    processors: tuple[str, ...] = ()  # the kinds it was trained on, first to last

    @classmethod
    def read(cls, folder: Path) -> "Placement":
        """That of a folder; one that was never on a cluster is nowhere."""
        try:
            content: dict[str, Any] = json.loads((folder / PLACEMENT).read_text())
            return cls(**content | {"processors": tuple(content["processors"])})
        except (OSError, *FOREIGN):
            return cls()

    def write(self, folder: Path) -> None:
        """Keep it.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        replace(folder / PLACEMENT, json.dumps(asdict(self)).encode())
