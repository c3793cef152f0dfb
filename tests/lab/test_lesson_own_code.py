"""A model of the reader's own in Python: what it may be, and what is said where it is not."""

import pytest
import torch

from iwae_lab.lessons import coded
from iwae_lab.lessons.coded import EXAMPLE, CodeError, run
from iwae_lab.lessons.own_model import Choices, Coded, answers, fit

X, H = torch.tensor(2.0, dtype=torch.float64), torch.linspace(-3, 3, 7, dtype=torch.float64)


def test_the_example_is_the_model_of_the_menus() -> None:
    ours, theirs = Coded(code=EXAMPLE), Choices()
    assert ours.log_joint(X, H) == pytest.approx(theirs.log_joint(X, H))
    phi = tuple(map(float, fit(ours, "iwae", 10)[20]))
    assert phi == pytest.approx(tuple(map(float, fit(theirs, "iwae", 10)[20])))
    assert answers(ours, phi, 10).bound == pytest.approx(answers(theirs, phi, 10).bound)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def log_joint(x, h)\n    return h", "line 1: expected ':'"),
        ("h = 1", r"defines no function log_joint\(x, h\)"),
        ("def log_joint(x, h):\n    y = h\n    return y + missing", "line 3: name 'missing' is not defined"),
        ("def log_joint(x, h):\n    return h.sum()", r"shape of h, \[7\]; got \[\]"),
        ("def log_joint(x, h):\n    return 1.0", "got float"),
        ("def log_joint(x, h):\n    return h / 0 * 0", "NaN or infinity"),
        ("exit()", "line 1: "),
        ("#" * 5_000, "4,000 characters; got 5,000"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(code: str, message: str) -> None:
    with pytest.raises(CodeError, match=message):
        run(code, X, H)


def test_a_loop_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "SECONDS", 0.05)
    with pytest.raises(CodeError, match=r"line [23]: it takes longer than"):
        run("def log_joint(x, h):\n    while True:\n        pass", X, H)
