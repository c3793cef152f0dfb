"""The story in five sentences says what the recorded numbers show."""

import pytest

from iwae_lab.history.history import History
from iwae_lab.shipped.recording import recording
from iwae_lab.words.glossary import Dialect
from iwae_lab.words.story import SOME, curves, labels, told


@pytest.fixture(scope="module")
def history() -> History:
    return recording("long")


@pytest.mark.parametrize("dialect", Dialect)
def test_every_text_is_complete(history: History, dialect: str) -> None:
    acts = told(history, dialect)
    assert [act.name for act in acts] == ["The bound", "The gap", "The model", "The price", "The proof"]
    for act in acts:
        assert not {"{", "}"} & set("".join([act.before, act.question, *act.answers, act.sentence]))
    assert not {"{", "}"} & set("".join(labels(history).values()).replace("{answer}", ""))


def test_the_right_answers_are_what_the_numbers_show(history: History) -> None:
    shown = curves(history)
    assert shown.vae[0] == pytest.approx(shown.vae_elbo, abs=1e-3)
    assert shown.vae == sorted(shown.vae), "only the log of the average rises"
    gap, left = shown.vae[-1] - shown.vae_elbo, shown.vae[-1] - shown.vae[shown.ks.index(SOME)]
    assert 0.5 * gap < gap - left < 0.95 * gap, "most of the gap, not all"
    assert shown.iwae[-1] > shown.vae[-1] + 0.5, "the IWAE is the better model"
    assert shown.iwae_elbo < shown.vae_elbo - 5, "and its ELBO much lower"
    texts = [act.sentence for act in told(history, Dialect.STATISTICS)]
    assert f"from {gap:.1f} nats at k = 1 to {left:.1f} at k = {SOME}" in texts[1]
    assert f"leads by {shown.iwae[-1] - shown.vae[-1]:.2f} ± " in texts[2]
    assert f"ELBO is {shown.vae_elbo - shown.iwae_elbo:.2f} ± " in texts[3]
