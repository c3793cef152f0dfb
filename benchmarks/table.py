"""The results as Markdown, for the terminal and for README."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.comparisons import LIMITS, PEERS
from iwae_lab.words import numbers

BEGIN, END = "<!-- speed: written by iwae bench --write -->\n", "<!-- end of speed -->\n"
LIBRARIES = {"plain_torch": "plain torch", **PEERS}
COLUMNS = {"core_counting": "rows that count", **LIBRARIES, **LIMITS}
OTHERS = (
    ("one_sample", "core_one_sample", "core", "one-sample estimator: a step against one of the full gradient"),
    ("linearity", "core", "core", "ten times k: a step against one with the smaller k"),
    ("evaluation", "core_evaluation", "matmul_forward", "evaluation: against its matrix products alone"),
    ("evaluation", "core_evaluation", "core_last_k", "evaluation: all values of k against the largest alone"),
)


def markdown(measured: dict[str, Any]) -> str:
    """Everything that was measured, with where."""
    place = measured["machine"]
    blocks = [f"Measured on {place['cores']} cores of {place['processor']}, torch {place['torch']}."]
    for cores in sorted({result["cores"] for result in measured["results"]}):
        results = [result for result in measured["results"] if result["cores"] == cores]
        blocks.append(f"On {cores} core{'s' if cores > 1 else ''}:\n\n" + training_table(results))
        blocks.append("\n".join(other_lines(results)))
    blocks.append("\n".join(f"Not run: {name} ({why})." for name, why in sorted(not_run(measured["results"]).items())))
    return "\n\n".join(block for block in blocks if block) + "\n"


def kinds(measured: Iterable[dict[str, Any]]) -> str:
    """Every kind of machine, one after the other."""
    return "\n".join(map(markdown, measured))


def training_table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each batch size and k: steps a second, then how many times as long a step takes others."""
    ran = {entry["contestant"] for result in results for entry in result["entries"] if entry["seconds"]}
    columns = {name: label for name, label in COLUMNS.items() if name in ran}
    rows = []
    for result in results:
        if result["comparison"] == "training":
            ours, *others = result["entries"]
            times = {other["contestant"]: spread(ratios(other, ours)) for other in others if other["seconds"]}
            cells = [times.get(name, "") for name in columns]
            rows.append((f"{ours['batch']}, {ours['k']}", f"{1 / median(ours['seconds']):.3g}", *cells))
    return numbers.markdown(("batch, k", "this project, steps/s", *columns.values()), rows)


def counting_line(entries: Sequence[dict[str, Any]]) -> str:
    """How long the fastest library and the matrix products of a full step take beside rows that count."""
    by_name = {entry["contestant"]: entry for entry in entries if entry["seconds"]}
    ours = by_name["core_counting"]
    against = {name: ratios(entry, ours) for name, entry in by_name.items()}
    size = f"(batch {ours['batch']}, k = {ours['k']})"
    found = [f"the matrix products of a full step {spread(against['matmul'])}"]
    if ran := LIBRARIES.keys() & by_name:
        name = min(ran, key=lambda library: against[library][1])
        found.insert(0, f"the fastest library, {LIBRARIES[name]}, {spread(against[name])}")
    return f"- against rows that count {size}: {', '.join(found)}"


def other_lines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each ratio that is not in the columns of the table."""
    for result in results:
        if any(entry["contestant"] == "core_counting" and entry["seconds"] for entry in result["entries"]):
            yield counting_line(result["entries"])
    for comparison, above, below, text in OTHERS:
        for result in results:
            if result["comparison"] == comparison:
                top = next(entry for entry in reversed(result["entries"]) if entry["contestant"] == above)
                bottom = next(entry for entry in result["entries"] if entry["contestant"] == below)
                yield f"- {text} (batch {top['batch']}, k = {top['k']}): {spread(ratios(top, bottom))}"


def ratios(entry: dict[str, Any], other: dict[str, Any]) -> tuple[float, float, float]:
    """Seconds of an entry over those of another, round by round: least, median, greatest."""
    quotients = [a / b for a, b in zip(entry["seconds"], other["seconds"], strict=True)]
    return min(quotients), median(quotients), max(quotients)


def spread(values: tuple[float, float, float]) -> str:
    """The median, then the range over rounds."""
    least, middle, greatest = values
    return f"{middle:.2f}× ({least:.2f}–{greatest:.2f})"


def not_run(results: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Why contestants were left out."""
    entries = [entry for result in results for entry in result["entries"]]
    return {entry["contestant"]: entry["not_run"] for entry in entries if "not_run" in entry}


def write(readme: Path, text: str) -> None:
    """Put the text between its marks."""
    before, rest = readme.read_text().split(BEGIN)
    _, after = rest.split(END)
    readme.write_text(before + BEGIN + text + END + after)
