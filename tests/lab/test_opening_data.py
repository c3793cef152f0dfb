"""The data of the opening picture: real draws, the same as the lesson's, and what many more tell of them."""

import base64
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from iwae_lab.lessons.same import KS, draw, expected
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.opening import opening
from iwae_lab.words.glossary import Dialect
from iwae_lab.words.opening import ANSWER, opening_words

SHOWN = opening()


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(SHOWN.log_weights), "<i2") / 100


@pytest.mark.parametrize("k", KS)
def test_its_numbers_are_those_of_the_lesson(weights: NDArray[np.float64], k: int) -> None:
    same = draw(SHOWN.model, SHOWN.digit_class, k, 0)
    first = weights[:k]
    assert first == pytest.approx(same.log_weights, abs=0.0051), "rounded, and in single precision before"
    assert first.mean() == pytest.approx(same.elbo, abs=0.005)
    assert np.log(np.exp(first - first.max()).mean()) + first.max() == pytest.approx(same.l_k, abs=0.005)


def test_one_formula_settles_and_the_other_climbs_to_log_p(weights: NDArray[np.float64]) -> None:
    assert SHOWN.model in names("one_layer")
    assert len(weights) == 5000
    assert SHOWN.log_p_stderr < 0.1
    average = expected(SHOWN.model, SHOWN.digit_class)
    of_all = np.log(np.exp(weights - weights.max()).mean()) + weights.max()
    assert weights.mean() == pytest.approx(average.elbo, abs=0.2)
    assert weights.mean() < SHOWN.log_p - 4
    assert SHOWN.log_p - 1 < of_all < SHOWN.log_p + 0.5


def test_the_bands_hold_what_the_lesson_shows() -> None:
    average = expected(SHOWN.model, SHOWN.digit_class)
    for name, means in ("average_of_logs", np.full(len(KS), average.elbo)), ("log_of_average", average.l_k):
        low, high = (np.interp(np.log(KS), np.log(SHOWN.bands["k"]), ends) for ends in SHOWN.bands[name])  # type: ignore[arg-type]
        assert ((low < means) & (means < high)).all()
        assert (np.diff(high - low) < 0).all(), "both get steadier"


@pytest.mark.parametrize("dialect", Dialect)
def test_its_words_are_complete_in_both_dialects(dialect: str) -> None:
    said = opening_words(dialect)
    texts = [text for text in said if isinstance(text, str)] + [text for _, text in said.captions]
    assert "{draws}" in ANSWER
    for text in texts:
        assert "{" not in text.replace("{nats}", "").replace("{number}", "")


def test_the_first_screen_waits_for_no_torch() -> None:
    code = "import sys, ui.pages.opening; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
