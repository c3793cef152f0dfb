"""`python -m tools.mutation FILES`: mutate, test, tell."""

import argparse
import hashlib
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.mutation import afresh, score, session
from tools.mutation.mutants import Mutant, mutants

STATE = session.ROOT / "runs" / "mutation"  # verdicts so far; not kept in the repository
OPTIONS = ["-qs", "--override-ini=addopts=", "--noconftest", "-pno:cacheprovider", "--tb=no", "--assert=plain"]


def main() -> None:
    """Test what has not been tested yet, then write the score."""
    options = arguments()
    STATE.mkdir(parents=True, exist_ok=True)
    found = [mutant for file in files(options.files) for mutant in mutants(session.ROOT, file)]
    alike = score.equivalent()
    testable = [mutant for mutant in found if mutant.key not in alike]
    verdicts, touched_file = Verdicts(STATE / "verdicts.json"), STATE / f"touched_{fingerprint()}.json"
    if options.baseline or not touched_file.exists():
        aside(lambda: collect(session.Baseline(touched_file), options.tests))
    touched = json.loads(touched_file.read_text())
    until = time.monotonic() + 60 * options.minutes

    def due(verdict: set[str | None]) -> Iterator[Mutant]:
        chosen = [mutant for mutant in testable if verdicts.known.get(mutant.key) in verdict]
        random.Random(0).shuffle(chosen)  # so that what has been tested when time is up is a fair sample
        chosen.sort(key=lambda mutant: mutant.key not in verdicts.known)
        for mutant in chosen:
            if time.monotonic() < until:
                yield mutant

    quick = {None, "survived", "no test", "error in the tool"} if options.survivors else {None}
    plugin = session.Loop((m for m in due(quick) if m.lines), touched, options.seconds, verdicts.note)
    aside(lambda: collect(plugin, options.tests))
    verdicts.read()
    if options.afresh:
        afresh.import_the_rest()
        with afresh.copied(STATE) as copy:
            for mutant in due({None, "afresh"} | ({"survived", "no test"} if options.survivors else set())):
                verdicts.note(mutant, afresh.verdict(mutant, copy, touched, options.seconds))
    score.write(found, verdicts.known)


class Verdicts:
    """What is known so far, in a file that is whole at any time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        """What the file says."""
        self.known = json.loads(self.file.read_text()) if self.file.exists() else {}

    def note(self, mutant: Mutant, verdict: str) -> None:
        """Add one, and tell what was not noticed."""
        self.known[mutant.key] = verdict
        partial = self.file.with_suffix(".partial")
        partial.write_text(json.dumps(self.known, indent=0))
        partial.replace(self.file)
        if verdict != "killed":
            print(f"{verdict}: line {mutant.line} of {mutant.key}", flush=True)


def fingerprint() -> str:
    """Of the core as it is: which test enters which lines holds for this state only."""
    core = sorted((session.ROOT / "iwae_core").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in core)).hexdigest()[:8]


def files(names: list[str]) -> Iterator[Path]:
    """Files, and those of folders."""
    for name in names:
        path = session.ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def collect(plugin: Any, tests: list[str]) -> int:
    """Let pytest collect the tests and hand them to a plugin."""
    return int(pytest.main([*OPTIONS, *tests], plugins=[plugin]))


def aside(work: Callable[[], int]) -> None:
    """In a child, so that nothing under test is imported here."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(work())
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the tests could not be collected, or something else went wrong: see above")


def arguments() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("files", nargs="+", help="files or folders to mutate, such as iwae_core/bounds")
    parser.add_argument("--tests", nargs="+", default=["tests/core"], help="where the tests are (default: tests/core)")
    parser.add_argument("--seconds", type=float, default=10, help="of tests for each mutant, the quickest first")
    parser.add_argument("--minutes", type=float, default=600, help="then stop; called again it goes on")
    parser.add_argument("--survivors", action="store_true", help="test those again that survived")
    parser.add_argument("--afresh", action="store_true", help="also test what needs every module imported anew: slower")
    parser.add_argument("--baseline", action="store_true", help="look again what these --tests enter, such as new ones")
    return parser.parse_args()


if __name__ == "__main__":
    main()
