"""Figures and sentences say what the numbers say."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from iwae_core.training.events import Progress, Record, Snapshot, Started, Swapped
from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.figures import digit_sheet
from iwae_lab.figures.against_k import bounds_against_k
from iwae_lab.figures.curves import training_curves
from iwae_lab.history.history import History
from iwae_lab.history.reading import read_at
from iwae_lab.history.view import View
from iwae_lab.words import sentences as words
from tests.support.history import history as several

SPEC = ExperimentSpec(eval_images=60, eval_k=100, steps=1000)
POINTS = len(SPEC.eval_ks)


def history(lead: float = 0.0, elbo_lead: float = 0.0, steps: int = 0, runs: int = 2) -> History:
    """A run whose IWAE model leads VAE by given amounts, up to small independent noise of each image."""
    rng = np.random.default_rng(0)
    images = rng.normal(-90, 20, 60)
    elbo = np.stack([images - 5, images - 5 + elbo_lead + rng.normal(0, 0.5, 60)])
    rise = 4 * np.arange(POINTS) / (POINTS - 1)
    iwae = elbo[:, None, :] + rise[:, None]
    iwae[1] += (lead - elbo_lead) * rise[:, None] / 4
    digits = np.zeros((2, 10, 784), np.uint8)
    events = [
        Started(replace(SPEC, runs=SPEC.runs[:runs]).to_json(), digits[0]),
        Snapshot(0, iwae[:runs].astype(np.float32), elbo[:runs].astype(np.float32), digits[:runs], digits[:runs]),
        *(Progress(step, (-100.0 - 1 / step, -110.0), (-95.0, -99.0)) for step in range(1, steps + 1)),
    ]
    return History(Record(number, float(number), event) for number, event in enumerate(events))


def test_the_plot_shows_means_bands_and_a_marker() -> None:
    run = history()
    figure = bounds_against_k(run, View(k=10))
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert list(lines) == ["VAE: L<sub>k</sub>", "VAE: ELBO", "IWAE: L<sub>k</sub>", "IWAE: ELBO"]
    snapshot = run.snapshots[0]
    assert lines["IWAE: L<sub>k</sub>"].y == pytest.approx(snapshot.iwae[1].mean(1), rel=1e-6)
    assert lines["VAE: ELBO"].y == pytest.approx([snapshot.elbo[0].mean()] * POINTS, rel=1e-6)
    assert [trace.line.dash for trace in lines.values()] == ["solid", "dash", "solid", "dash"]
    assert figure.layout.shapes[0].x0 == 10
    band = next(trace for trace in figure.data if trace.fill == "toself")
    half = 2 * snapshot.iwae[0].std(1, ddof=1) / np.sqrt(60)
    assert band.y[:POINTS] == pytest.approx(snapshot.iwae[0].mean(1) - half, rel=1e-5)
    assert band.y[POINTS:][::-1] == pytest.approx(snapshot.iwae[0].mean(1) + half, rel=1e-5)
    markers = [trace.y[0] for trace in figure.data if trace.mode == "markers"]
    assert markers == pytest.approx([line.y[SPEC.eval_ks.index(10)] for line in lines.values()])


def test_a_zoom_belongs_to_its_experiment() -> None:
    first, second = bounds_against_k(history(), View(10)), bounds_against_k(history(steps=9), View(100))
    assert first.layout.uirevision == second.layout.uirevision
    assert first.layout.uirevision != bounds_against_k(history(runs=1), View(10)).layout.uirevision


def test_figures_without_data_are_empty_not_errors() -> None:
    assert not bounds_against_k(History(), View()).data
    assert not training_curves(History(), View()).data
    assert read_at(History(), View(1)) is None


@pytest.mark.parametrize("steps", [1, 7, 400, 401, 5000])
def test_training_curves_are_averages_that_keep_the_newest_step(steps: int) -> None:
    figure = training_curves(history(steps=steps), View())
    assert len(figure.data) == 4
    width = -(-steps // 400)
    for trace in figure.data:
        assert len(trace.x) == steps // width
        assert trace.x[-1] == pytest.approx(steps - (width - 1) / 2)
    last = [1 / step for step in range(steps - width + 1, steps + 1)]
    assert figure.data[1].y[-1] == pytest.approx(-100 - np.mean(last), rel=1e-6)


def test_reading_pairs_the_runs() -> None:
    run = history(lead=1.0, elbo_lead=-3.0)
    reading = read_at(run, View(100))
    assert reading is not None
    difference = (run.snapshots[0].iwae[1, -1] - run.snapshots[0].iwae[0, -1]).astype(float)
    assert reading.iwae_leads[0] == (0.0, 0.0)
    assert reading.iwae_lead.mean == pytest.approx(difference.mean())
    assert reading.iwae_lead.stderr == pytest.approx(difference.std(ddof=1) / np.sqrt(60), rel=1e-5)
    assert reading.iwae_lead.stderr < 0.1 * reading.iwae[0].stderr
    assert reading.gain[0].mean == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize(
    ("lead", "elbo_lead", "fit", "own"),
    [
        (1.0, -3.0, "IWAE is ahead by", "IWAE is behind by"),
        (-1.0, 0.0, "IWAE is behind by", "cannot be told apart"),
        (0.0, 2.0, "cannot be told apart", "IWAE is ahead by"),
    ],
)
def test_findings_claim_what_three_standard_errors_show(lead: float, elbo_lead: float, fit: str, own: str) -> None:
    reading = read_at(history(lead, elbo_lead), View(100))
    assert reading is not None
    formulas, models, elbos = words.findings(reading)
    assert "4.0 nats for the VAE model" in formulas
    assert fit in models
    assert own in elbos
    assert (words.say(words.WORSE_ELBO, "statistics") in elbos) == (elbo_lead < 0)


def test_findings_compare_every_run_as_it_is_trained_at_that_time() -> None:
    run = several()  # VAE → IWAE, swapped after the first evaluation; IWAE k=5, IWAE k=50
    reading = read_at(run, View(100))
    assert reading is not None
    assert [(now.estimator, now.k) for now in reading.runs] == [("iwae", 20), ("iwae", 5), ("iwae", 50)]
    _, fit, *elbos = words.findings(reading)
    assert "IWAE k=5 is" in fit
    assert "IWAE k=50 is" in fit
    assert [text.partition(" model")[0] for text in elbos] == [
        "**The ELBO of the IWAE k=5",
        "**The ELBO of the IWAE k=50",
    ]
    assert [row[0] for row in words.readout(reading)[-2:]] == ["IWAE k=5 − VAE → IWAE", "IWAE k=50 − VAE → IWAE"]
    before = read_at(run, View(100, at=0))
    assert before is not None
    assert before.runs[0].estimator == "vae"


def test_after_a_swap_to_the_vae_its_low_elbo_is_not_put_down_to_the_other_bound() -> None:
    run = history(elbo_lead=-3.0)
    run.extend([Record(run.length, 9.0, Swapped(0, 1, "vae", 5))])
    reading = read_at(run, View(100))
    assert reading is not None
    assert words.say(words.WORSE_ELBO, "statistics") not in words.findings(reading)[-1]
    assert "IWAE (k = 50), from step 0 VAE (k = 5)" in words.describe(SPEC, run.swaps)


def test_models_that_are_the_same_are_not_said_to_be_hard_to_tell_apart() -> None:
    run = history()
    same = np.repeat(run.snapshots[0].iwae[:1], 2, 0)
    run.snapshots[0] = replace(run.snapshots[0], iwae=same)
    reading = read_at(run, View(100))
    assert reading is not None
    assert "IWAE and VAE are the same model, to the last digit" in words.findings(reading)[1]


def test_a_refusal_speaks_of_estimators_by_their_names() -> None:
    with pytest.raises(SpecError) as refused:
        RunSpec("iwae", 5, "sbn_1")
    assert words.refusal(refused.value) == (
        "IWAE needs continuous, reparameterised latent variables, which this model does not offer; choose VIMCO in its "
        "place"
    )
    with pytest.raises(SpecError) as absurd:
        RunSpec("iwae", 0)
    assert words.refusal(absurd.value) == str(absurd.value)


def test_at_one_sample_the_formulas_are_the_same_number() -> None:
    reading = read_at(history(), View(1))
    assert reading is not None
    assert "the same number" in words.findings(reading)[0]
    head, *rows = words.readout(reading)
    assert head[0] == "at k = 1"
    assert all(row[3] == "+0.00 ± 0.00" for row in rows[:2])


def test_one_run_alone_is_not_compared() -> None:
    reading = read_at(history(runs=1), View(10))
    assert reading is not None
    assert len(words.findings(reading)) == 1
    assert [len(row) for row in words.readout(reading)] == [4, 4]


def test_digit_sheets_are_ink_on_white() -> None:
    digits = np.zeros((3, 784), np.uint8)
    digits[1] = 255
    image = np.array(Image.open(io.BytesIO(digit_sheet(digits))))
    assert image.shape == (28, 3 * 28 + 2 * 2, 2)
    assert (image[:, :28] == [255, 255]).all()
    assert (image[:, 30:58] == [0, 255]).all()
    assert (image[:, 28:30, 1] == 0).all()


def test_time_left() -> None:
    assert words.time_left(history()) == words.LOADING_WORKER
    assert words.time_left(history(steps=100)) == "1 steps/s, 15 min left"
    assert words.status(history(steps=100), SPEC, "running", slow=True) == "Running: step 100 of 1,000 · in slow motion"
