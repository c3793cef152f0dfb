"""How many mutants the tests noticed, by folder; README shows it."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tools.mutation.mutants import Mutant

SCORE = Path(__file__).with_name("score.json")
EQUIVALENT = Path(__file__).with_name("equivalent.json")
HEAD = ("folder of `iwae_core`", "mutants", "tested", "noticed", "equivalent", "survived", "score", "date")


def equivalent() -> dict[str, str]:
    """By key: why no test can, or should, tell such a mutant from the original."""
    found: dict[str, str] = json.loads(EQUIVALENT.read_text())
    return found


def write(mutants: list[Mutant], verdicts: dict[str, str]) -> None:
    """Put the count of these files' folders into the score."""
    score = json.loads(SCORE.read_text()) if SCORE.exists() else {}
    alike = equivalent()
    for folder in sorted({_folder(mutant) for mutant in mutants}):
        keys = [mutant.key for mutant in mutants if _folder(mutant) == folder]
        found = Counter("equivalent" if key in alike else verdicts.get(key, "untested") for key in keys)
        alive = [key for key in keys if verdicts.get(key) in ("survived", "no test") and key not in alike]
        score[folder] = {
            "mutants": len(keys),
            "noticed": found["killed"],
            "equivalent": found["equivalent"],
            "survived": alive,
            "date": date.today().isoformat(),
        }
        print(f"{folder}: {dict(found)}")
    SCORE.write_text(json.dumps(score, indent=1, ensure_ascii=False) + "\n")


def rows() -> Iterator[tuple[str, ...]]:
    """The score, Markdown."""
    for folder, of in json.loads(SCORE.read_text()).items():
        survived = len(of["survived"])
        decided = of["noticed"] + survived
        tested = decided + of["equivalent"]
        numbers = (of["mutants"], tested, of["noticed"], of["equivalent"], survived)
        yield f"`{folder}`", *(f"{n:,}" for n in numbers), f"{of['noticed'] / max(decided, 1):.1%}", of["date"]


def _folder(mutant: Mutant) -> str:
    return Path(mutant.path).parts[1]
