"""The mutation run: what it changes, and that a changed function is what the tests then meet."""

import ast
from dataclasses import replace
from pathlib import Path
from types import FunctionType

from iwae_core.bounds import diagnostics
from tools.mutation import score, session
from tools.mutation.mutants import mutants

SOURCE = '''
@dataclass(frozen=True)
class Point:
    """A point at 3 metres."""

    @cached_property
    def norm(self) -> float:
        return self.x.square().sum(dim=0) if self.x > 2 else -0.5


def check(n: int = 1) -> None:
    if not n:
        raise ValueError(f"{n + 1} is too many")
    n += 1
'''


def test_each_mutant_is_one_small_change_of_the_code(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(SOURCE)
    found = mutants(tmp_path, file)
    changes = {(mutant.function, mutant.before, mutant.after) for mutant in found}
    assert len(changes) == len(found)
    assert changes == {
        ("norm", "self.x.square().sum(dim=0) if self.x > 2 else -0.5", "(self.x.square().sum(dim=0))"),
        ("norm", "self.x.square().sum(dim=0) if self.x > 2 else -0.5", "(-0.5)"),
        ("norm", "self.x.square().sum(dim=0)", "(self.x.square().sum())"),
        ("norm", "self.x.square().sum(dim=0)", "(self.x.square())"),
        ("norm", "self.x.square().sum", "(self.x.square().mean)"),
        ("norm", "self.x.square()", "(self.x)"),
        ("norm", "0", "(1)"),
        ("norm", "self.x > 2", "(self.x >= 2)"),
        ("norm", "self.x > 2", "(self.x <= 2)"),
        ("norm", "2", "(3)"),
        ("norm", "-0.5", "(0.5)"),
        ("norm", "0.5", "(1.0)"),
        ("", "1", "(2)"),
        ("check", "not n", "(n)"),
        ("check", 'raise ValueError(f"{n + 1} is too many")', "pass"),
        ("check", "n += 1", "pass"),
        ("check", "1", "(2)"),
    }
    for mutant in found:
        assert ast.unparse(ast.parse(mutant.source)) != ast.unparse(ast.parse(SOURCE))
        assert mutant.cached == (mutant.function == "norm")
        assert all(SOURCE.splitlines()[line - 1] for line in mutant.lines)


def test_a_mutated_function_is_met_in_place_of_the_original() -> None:
    file = session.ROOT / "iwae_core" / "bounds" / "diagnostics.py"
    (mutant,) = [m for m in mutants(session.ROOT, file) if m.function == "plug_in_bias" and m.after == "(3)"]
    function = diagnostics.plug_in_bias
    while hasattr(function, "__wrapped__"):  # by the checker of shapes
        function = function.__wrapped__
    assert isinstance(function, FunctionType)
    assert session.in_child(lambda: not session.mutate(mutant, [function]), 1) == "survived"
    unchanged = replace(mutant, source=file.read_text())
    assert session.in_child(lambda: session.mutate(unchanged, [function]), 1) == "survived"
    assert session.in_child(lambda: 1, 1) == "killed"


def test_tests_that_matter_are_the_quickest_that_enter_the_function() -> None:
    file = session.ROOT / "iwae_core" / "bounds" / "diagnostics.py"
    mutant = next(m for m in mutants(session.ROOT, file) if m.function == "perplexity")
    at, other = mutant.lines[0], mutant.lines[-1] + 1
    touched = {
        name: {"seconds": seconds, "entered": [[str(file), line]]}
        for name, seconds, line in (("slow", 5.0, at), ("quick", 0.1, at), ("beside", 0.2, other))
    }
    assert session.concerned(mutant, touched, 9) == ["quick", "slow"]
    assert session.concerned(mutant, touched, 0) == ["quick"]
    assert session.concerned(replace(mutant, lines=range(0)), touched, 9) == ["quick", "beside", "slow"]


def test_the_score_counts_what_was_noticed_of_what_could_be() -> None:
    for folder, mutants_of, tested, noticed, equivalent, survived, share, _ in score.rows():
        n, t, k, e, s = (int(cell.replace(",", "")) for cell in (mutants_of, tested, noticed, equivalent, survived))
        assert n >= t == k + e + s, folder
        assert share == f"{k / (k + s):.1%}"
