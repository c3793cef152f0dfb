"""Numbers and tables are written as people read them."""

import numpy as np
import pytest

from iwae_core.evaluation.estimate import Estimate
from iwae_lab.words.numbers import duration, markdown, minus, plus_minus, true_minus


def test_a_minus_sign_is_no_hyphen() -> None:
    assert true_minus("-1 to 2, 3e-05") == "−1 to 2, 3e−05"
    assert (minus(-1.5), minus(-1.25, 1), minus(2.0, 0, "+")) == ("−1.500", "−1.2", "+2")


@pytest.mark.parametrize(("mean", "plain", "signed"), [(1.5, "1.50", "+1.50"), (-1.5, "−1.50", "−1.50")])
def test_the_range_is_two_standard_errors(mean: float, plain: str, signed: str) -> None:
    value = Estimate(np.float64(mean), np.float64(0.25))  # type: ignore[arg-type]
    assert plus_minus(value) == f"{plain} ± 0.50"
    assert plus_minus(value, sign=True) == f"{signed} ± 0.50"


def test_durations_are_told_in_a_unit_that_fits() -> None:
    assert [duration(seconds, 1) for seconds in (2.04, 89.94, 90, 5399, 5400, 20241)] == [
        "2.0 s", "89.9 s", "2 min", "90 min", "1.5 h", "5.6 h",
    ]  # fmt: skip
    assert duration(9.6) == "10 s"


def test_a_table_has_a_row_a_line() -> None:
    assert markdown(("a", "b"), [("1", "2"), ("3", "")]) == "| a | b |\n|:--|--:|\n| 1 | 2 |\n| 3 |  |"
    assert markdown(("a", "b", "c"), [], left=2).splitlines()[1] == "|:--|:--|--:|"
