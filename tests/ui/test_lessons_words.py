"""The glossary: every place it names exists, no name stands for two things, and the quiz has one right answer."""

from importlib import import_module
from typing import Any

import pytest

from iwae_lab.words.glossary import TERMS, Dialect, Term, say
from ui.lessons.words import LESSON, OPTIONS, matching, other_name, question, table


def resolve(where: str) -> Any:
    """What a dotted name means; a field of a class without a default is its annotation."""
    path, *names = where.split(".")
    found: Any = import_module(path)
    for name in names:
        path = f"{path}.{name}"
        if hasattr(found, name):
            found = getattr(found, name)
        elif name in getattr(found, "__annotations__", {}):
            found = found.__annotations__[name]
        else:
            found = import_module(path)
    return found


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_the_code_has_it_where_it_is_said_to_be(term: Term) -> None:
    resolve(term.where)


def test_what_is_not_there_is_not_found() -> None:
    for wrong in ("iwae_core.draws.Draws.x", "iwae_core.nowhere", "iwae_lab.nothing"):
        with pytest.raises(ModuleNotFoundError):
            resolve(wrong)


@pytest.mark.parametrize("field", ["statistics", "deep_learning", "meaning"])
def test_no_words_stand_for_two_things(field: str) -> None:
    words = [getattr(term, field) for term in TERMS.values()]
    assert len(set(words)) == len(words)
    assert all(words)


def test_both_dialects() -> None:
    assert say("{Q} and {p}", Dialect.STATISTICS) == "Approximate posterior and likelihood"
    assert say("{Q} and {p}", Dialect.DEEP_LEARNING) == "Encoder and decoder"


def test_nearly_all_have_two_names() -> None:
    assert LESSON.answers[LESSON.right] == "Nearly all"
    assert sum(term.two_names for term in TERMS.values()) > 0.8 * len(TERMS)


@pytest.mark.parametrize("dialect", Dialect)
def test_the_quiz(dialect: Dialect) -> None:
    asked = [question(index, dialect) for index in range(1, 120)]
    assert asked[4] == question(5, dialect), "the address brings the same question back"
    for each in asked:
        assert len(set(each.options)) == OPTIONS
        assert each.options[each.right] == other_name(each.term, dialect)
    both = [term for term in TERMS.values() if term.two_names]
    assert {each.term for each in asked[: len(both)]} == set(both), "each term once before any comes again"
    assert len({each.right for each in asked}) == OPTIONS


def test_finding_terms() -> None:
    assert matching("") == list(TERMS.values())
    assert TERMS["q"] in matching("ENCODER")
    assert TERMS["phi"] in matching("encoder")
    assert matching("no such thing") == []
    assert "&lt;" not in table(matching("")) or "<script" not in table(matching(""))
    assert "L<sub>k</sub>" in table([TERMS["l_k"]])
