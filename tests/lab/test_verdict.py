"""The answer of an experiment in a number and a sentence, from evaluations made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from iwae_core.training.events import Finished, Progress, Snapshot
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History
from iwae_lab.history.verdict import Moment, verdicts
from iwae_lab.words.headline import YOUNG, lead, spoken, told
from tests.support.told import told as history_of

IMAGES = 100
SPEC = ExperimentSpec(
    (RunSpec("vae", 2), RunSpec("iwae", 2)), batch_size=3, steps=40, eval_images=IMAGES, eval_k=5, start="vae_k1"
)
NOISE = np.where(np.arange(IMAGES) % 2, 0.2, -0.2)  # of the differences: their mean's standard error is 0.0201
ERROR = 0.2 / np.sqrt(IMAGES - 1)


def evaluation(step: int, *leads: float, elbo: float = -1.0) -> Snapshot:
    """Runs that are so far ahead of the first in L_5, and whose ELBO is so much higher."""
    points, runs = len(SPEC.eval_ks), len(leads) + 1
    iwae = np.full((runs, points, IMAGES), -90.0)
    elbos = np.full((runs, IMAGES), -95.0)
    for run, ahead in enumerate(leads, 1):
        iwae[run, -1] += ahead + (NOISE if ahead else 0)
        elbos[run] += elbo
    digits = np.zeros((runs, 10, 784), np.uint8)
    return Snapshot(step, iwae.astype(np.float32), elbos.astype(np.float32), digits, digits)


def experiment(*leads: float, spec: ExperimentSpec = SPEC, elbo: float = -1.0) -> History:
    """Evaluated every ten steps; the records come every half second."""
    events = [evaluation(10 * look, *([ahead] * (len(spec.runs) - 1)), elbo=elbo) for look, ahead in enumerate(leads)]
    return history_of(spec, *events)


def test_a_lead_is_certain_since_the_first_look_of_the_row_that_is() -> None:
    (verdict,) = verdicts(experiment(0.0, 0.12, 0.5, 0.13, 0.5, 0.6))
    assert (verdict.first, verdict.last, verdict.k, verdict.images) == ("VAE", "IWAE", 5, IMAGES)
    assert verdict.since == Moment(40, 2.5)  # its record is the fifth after the first, which came at once
    np.testing.assert_allclose([verdict.lead.mean, verdict.lead.stderr], [0.6, ERROR], rtol=1e-4)
    np.testing.assert_allclose(verdict.elbo.mean, -1.0, rtol=1e-5)


@pytest.mark.parametrize(("at", "since"), [(0, None), (1, None), (2, 20), (3, None), (4, 40), (5, 40), (-1, 40)])
def test_it_is_told_as_it_was_known_at_an_evaluation(at: int, since: int | None) -> None:
    (verdict,) = verdicts(experiment(0.0, 0.12, 0.5, 0.13, 0.5, 0.6), at)
    assert (verdict.since.step if verdict.since else None) == since


def test_a_lead_that_changes_sides_is_certain_since_it_changed() -> None:
    (verdict,) = verdicts(experiment(0.0, -0.6, -0.5, 0.5))
    assert verdict.since == Moment(30, 2.0)
    (verdict,) = verdicts(experiment(0.0, 0.5, -0.5, -0.4))
    assert verdict.since == Moment(20, 1.5)


def test_more_comparisons_ask_for_more() -> None:
    barely = 0.1 + 2.3 * ERROR  # between the critical values of one and of three comparisons
    assert verdicts(experiment(0.0, barely))[0].since
    four = replace(SPEC, runs=(*SPEC.runs, RunSpec("dreg", 2), RunSpec("stl", 2)))
    found = verdicts(experiment(0.0, barely, spec=four))
    assert [verdict.last for verdict in found] == ["IWAE", "DReG", "STL"]
    assert not any(verdict.since for verdict in found)


def test_there_is_nothing_to_tell_of_one_run_or_before_the_first_evaluation() -> None:
    assert verdicts(History()) == verdicts(history_of(SPEC)) == []
    assert verdicts(history_of(replace(SPEC, runs=SPEC.runs[:1]), evaluation(0))) == []


@pytest.mark.parametrize(
    ("leads", "elbo", "number", "sentence"),
    [
        ((0.0,), 0.0, "+0.00 ± 0.00", "IWAE and VAE are the same model, to the last digit. They are compared after"),
        ((0.0, 0.0), 0.0, "+0.00 ± 0.00", "IWAE and VAE are the same model, to the last digit."),
        ((0.0, 0.12), -1.0, "+0.12 ± 0.04", "IWAE minus VAE, in L_5 on 100 held-out images: not certain yet."),
        (
            (0.0, 0.5),
            -1.2,
            "+0.50 ± 0.04",
            "IWAE is ahead of VAE, in L_5 on 100 held-out images: certain since step 10, 1.0 s."
            " It gave up 1.2 nats of ELBO for that.",
        ),
        (
            (0.0, 0.5),
            0.3,
            "+0.50 ± 0.04",
            "IWAE is ahead of VAE, in L_5 on 100 held-out images: certain since step 10, 1.0 s.",
        ),
        (
            (0.0, -0.5),
            -1.0,
            "−0.50 ± 0.04",
            "IWAE is behind VAE, in L_5 on 100 held-out images: certain since step 10, 1.0 s.",
        ),
    ],
)
def test_the_number_and_the_sentence(leads: tuple[float, ...], elbo: float, number: str, sentence: str) -> None:
    ((verdict, text),) = told(experiment(*leads, elbo=elbo), formulas=False)
    assert lead(verdict) == number + " nats"
    assert text.startswith(sentence) if sentence.endswith("after") else text == sentence


def test_a_young_model_from_random_weights_is_told_to_be_young() -> None:
    young = replace(SPEC, start="random")
    behind = experiment(0.0, -0.5, spec=young)
    assert YOUNG in told(behind)[0][1]
    behind.extend([])
    swapped = replace(young, runs=young.runs[::-1])
    assert YOUNG not in told(experiment(0.0, -0.5, spec=swapped))[0][1]  # the VAE is behind: no excuse
    steps = [Progress(step, (0.0, 0.0), (0.0, 0.0)) for step in (100_000,)]
    old = history_of(replace(young, steps=200_000), evaluation(0, 0.0), *steps, evaluation(100_000, -0.5))
    assert told(old)[0][0].since
    assert YOUNG not in told(old)[0][1]


def test_bounds_are_formulas_on_the_page_and_a_listener_hears_what_changes_seldom() -> None:
    found = told(experiment(0.0, 0.5))
    assert "$L_{5}$" in found[0][1]
    assert list(spoken(found)) == ["IWAE is certainly ahead of VAE."]
    assert list(spoken(told(experiment(0.0, 0.12)))) == ["IWAE is not certainly ahead of or behind VAE."]


def test_the_end_changes_no_verdict() -> None:
    history = experiment(0.0, 0.5)
    before = verdicts(history)
    ended = history_of(SPEC, *history.snapshots, Finished(10))
    assert verdicts(ended)[0].since == before[0].since
