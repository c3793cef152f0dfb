"""A closeup shows the very samples that training uses, and the update it makes."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iwae_core.bounds.weights import normalized_weights
from iwae_core.estimators import ESTIMATORS
from iwae_core.models import Noise
from iwae_core.training.closeup import PICTURES, SHOWN, pulls
from iwae_core.training.events import Closeup, Progress, Record, decode, encode
from iwae_core.training.loop import Experiment
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History

SPEC = ExperimentSpec(
    runs=(RunSpec("vae", 60), RunSpec("iwae", 4), RunSpec("dreg", 60)), batch_size=3, steps=5, eval_images=2, eval_k=10
)


def after_two_steps() -> Experiment:
    experiment = Experiment(SPEC)
    for event in experiment.train():
        if isinstance(event, Progress) and event.step == 2:
            break
    return experiment


@pytest.fixture(scope="module")
def seen() -> tuple[list[tuple[Tensor, Tensor]], Closeup, list[Tensor]]:
    """The draws of the first image in training itself, the closeup of that step, and log w afterwards."""
    experiment = after_two_steps()
    before, used = experiment.look(), []
    noises: dict[Run, Noise] = {}
    with pytest.MonkeyPatch.context() as patch:
        for run in experiment.runs:

            def noise_spy(*given: Any, run: Run = run) -> Noise:
                noises[run] = type(run.model).noise(run.model, *given)
                return noises[run]

            def spy(x: Tensor, step: int, run: Run = run) -> Tensor:
                log_weights = Run._accumulate_gradient(run, x, step)
                used.append((run, x, noises[run], log_weights[:, 0]))
                return log_weights

            patch.setattr(run.model, "noise", noise_spy)
            patch.setattr(run, "_accumulate_gradient", spy)
        next(event for event in experiment.train() if isinstance(event, Progress))
    used.sort(key=lambda entry: experiment.runs.index(entry[0]))
    updated = [
        run.model.draw(x[:1], tuple(layer[:, :1] for layer in noise)).log_weights.detach()[:, 0]
        for run, x, noise, _ in used
    ]
    return [(x[0], values) for _, x, _, values in used], experiment.compare(before), updated


def test_the_samples_are_those_of_training(seen: tuple[list[tuple[Tensor, Tensor]], Closeup, list[Tensor]]) -> None:
    used, closeup, updated = seen
    assert closeup.step == 3
    assert closeup.ks == (60, 4, 60)
    assert closeup.image.any()
    assert closeup.before.shape == (3, SHOWN)
    for index, ((x, log_weights), later) in enumerate(zip(used, updated, strict=True)):
        assert (closeup.image == 255 * x.numpy()).all()
        count = min(SHOWN, len(log_weights))
        assert closeup.before[index, :count] == pytest.approx(log_weights[:SHOWN].numpy(), abs=2e-3)
        assert closeup.after[index, :count] == pytest.approx(later[:SHOWN].numpy(), abs=2e-3)
        assert np.isnan(closeup.before[index, count:]).all()
        for time, values in enumerate((log_weights, later)):
            bounds = [float(values.mean()), float(values.logsumexp(0)) - math.log(len(values))]
            assert closeup.bounds[index, :, time] == pytest.approx(bounds, abs=2e-3)
    assert abs(closeup.after - closeup.before)[0].max() > 0.1, "premise: the step changed the model"


def test_each_sample_is_pulled_by_its_share(seen: tuple[list[tuple[Tensor, Tensor]], Closeup, list[Tensor]]) -> None:
    used, closeup, _ = seen
    assert closeup.pulls[0] == pytest.approx(np.full(SHOWN, 1 / 60))
    assert closeup.pulls[1, :4] == pytest.approx(torch.softmax(used[1][1], 0).numpy(), abs=1e-4)
    # Normalised over all 60 samples, also those that are not shown.
    assert closeup.pulls[2] == pytest.approx(torch.softmax(used[2][1], 0)[:SHOWN].numpy(), abs=1e-4)


def test_pictures_of_the_first_samples(seen: tuple[list[tuple[Tensor, Tensor]], Closeup, list[Tensor]]) -> None:
    _, closeup, _ = seen
    assert closeup.decoded.shape == (3, PICTURES, 784)
    assert closeup.decoded[1, :4].any(-1).all()
    assert not closeup.decoded[1, 4:].any()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pulls_of_every_estimator(name: str) -> None:
    log_weights = torch.tensor([-3.0, -1.0, -2.5, -1.2], dtype=torch.float64)
    normalised = normalized_weights(log_weights[:, None])[:, 0]
    halves = torch.cat([torch.softmax(part, 0) / 2 for part in log_weights.chunk(2)])
    wanted = {
        "L_1": torch.full((4,), 0.25, dtype=torch.float64),
        "L_k": normalised,
        "L_α,k": torch.softmax(0.5 * log_weights, 0),
        "β L_1 + (1 − β) L_k": 0.125 + 0.5 * normalised,
        "L_(k/M)": halves,
    }
    estimator = ESTIMATORS[name]
    found = pulls(estimator, log_weights)
    if estimator.theta in wanted:
        torch.testing.assert_close(found, wanted[estimator.theta])
    assert float(found.sum()) == pytest.approx(1)
    if estimator.weights is not None:
        torch.testing.assert_close(estimator.weights(log_weights[:, None])[:, 0], found)


def test_settings_change_the_pulls() -> None:
    log_weights = torch.tensor([-3.0, -1.0], dtype=torch.float64)
    found = pulls(ESTIMATORS["renyi"], log_weights, alpha=-1.0)
    torch.testing.assert_close(found, torch.softmax(2 * log_weights, 0))


def test_looking_changes_nothing() -> None:
    plain, watched = after_two_steps(), after_two_steps()
    watched.look()
    events = [next(event for event in e.train() if isinstance(event, Progress)) for e in (plain, watched)]
    assert events[0] == events[1]


def test_exactly_one_step_lies_between() -> None:
    experiment = Experiment(replace(SPEC, runs=SPEC.runs[:1]))
    before = experiment.look()
    with pytest.raises(ValueError, match="exactly one step after look; 0 were made"):
        experiment.compare(before)


def test_a_closeup_is_an_event(seen: tuple[list[tuple[Tensor, Tensor]], Closeup, list[Tensor]]) -> None:
    record = Record(7, 1.0, copy.deepcopy(seen[1]))
    again = decode(encode(record))
    assert encode(again) == encode(record)
    assert len(encode(record)) < 60_000
    history = History([again])
    assert history.closeup is again.event
