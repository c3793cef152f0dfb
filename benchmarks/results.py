"""What was measured, kept comparison by comparison, in a file for each kind of machine: kinds stand side by side."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
NAMES = ("training", "one_sample", "linearity", "evaluation")  # of comparisons, in the order of the table
Machine = Mapping[str, Any]
Result = dict[str, Any]


def file_of(machine: Machine, folder: Path | None = None) -> Path:
    """Where the results of this kind of machine are: processors of one name with as many cores are of one kind."""
    kind = re.sub(r"[^a-z0-9]+", "-", f"{machine['processor']} {machine['cores']} cores".lower()).strip("-")
    return (folder or RESULTS) / f"{kind}.json"


def keep(machine: Machine, result: Result, folder: Path | None = None) -> None:
    """Store one comparison in place of an earlier one of the same sizes on as many cores, if all else is the same.

    Results of another version of torch or Python do not stand beside it: they make way.
    """
    path = file_of(machine, folder)
    before = json.loads(path.read_text()) if path.exists() else {}
    others = before["results"] if before.get("machine") == machine else []
    kept = [other for other in others if _size(other) != _size(result)]
    path.parent.mkdir(exist_ok=True)
    new = {"machine": dict(machine), "results": sorted([*kept, result], key=_order)}
    path.write_text(json.dumps(new, indent=1) + "\n")


def stored(folder: Path | None = None) -> Iterator[dict[str, Any]]:
    """All kinds of machines there are results of."""
    yield from (json.loads(path.read_text()) for path in sorted((folder or RESULTS).glob("*.json")))


def _size(result: Result) -> tuple[Any, ...]:
    return result["comparison"], result["cores"], [(entry["batch"], entry["k"]) for entry in result["entries"]][:2]


def _order(result: Result) -> tuple[Any, ...]:
    name, cores, sizes = _size(result)
    return cores, NAMES.index(name), sizes


def busy(results: Iterable[Result]) -> list[str]:
    """The comparisons that something else on the machine has disturbed, and by how much."""
    return [f"{told(result)}: {', '.join(result['noise']['reasons'])}" for result in results if disturbed(result)]


def disturbed(result: Result) -> bool:
    """Whether a comparison was measured on a busy machine."""
    return bool(result.get("noise", {}).get("reasons"))


def told(result: Result) -> str:
    """A comparison in a few words."""
    first = result["entries"][0]
    cores = f"{result['cores']} core{'s' if result['cores'] > 1 else ''}"
    return f"{result['comparison']} (batch {first['batch']}, k = {first['k']}) on {cores}"
