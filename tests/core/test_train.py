"""Training in lockstep, evaluation and what they report."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.bounds.weights import LogWeights
from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import estimate
from iwae_core.evaluation.held_out import Curves, bound_curves, log_weights
from iwae_core.models import MODELS, Model
from iwae_core.models.fused import FusedNetworks
from iwae_core.training.adam import Adam
from iwae_core.training.events import Event, Failed, Finished, Progress, Record, Snapshot, Started, decode, encode
from iwae_core.training.loop import Experiment, load_models, train
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History

SMALL = ExperimentSpec(
    runs=(RunSpec("vae", 3), RunSpec("iwae", 3)), batch_size=8, steps=6, eval_images=5, eval_k=20, seed=4
)


def same(first: Event, second: Event) -> bool:
    return untimed(first) == untimed(second)


def untimed(event: Event) -> str:
    """The event to the bit, but for the processor time it took."""
    return encode(Record(0, 0.0, replace(event, cost=()) if isinstance(event, Progress) else event))


def test_same_seed_same_events() -> None:
    first, second = list(train(SMALL)), list(train(SMALL))
    assert len(first) == len(second)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    other = list(train(replace(SMALL, seed=5)))
    assert not same(first[2], other[2])


def test_the_story_a_run_tells() -> None:
    events = list(train(SMALL))
    assert isinstance(events[0], Started)
    assert isinstance(events[1], Snapshot)
    assert events[1].step == 0
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-2], Snapshot)
    assert events[-1] == Finished(6, reason="all 6 steps are made")
    for event in events:
        assert same(decode(encode(Record(0, 0.0, event))).event, event)


def test_runs_in_lockstep_see_identical_minibatches_and_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, list[tuple[Tensor, Tensor]]] = {}
    experiment = Experiment(SMALL)
    for index, run in enumerate(experiment.runs):

        def spy(x: Tensor, noise: Tensor, *more: Any, index: int = index, networks: Any = run.model.fused) -> Tensor:
            seen.setdefault(index, []).append((x.clone(), noise.clone()))
            return FusedNetworks.set_gradient(networks, x, noise, *more)

        monkeypatch.setattr(run.model.fused, "set_gradient", spy)
    list(experiment.train())
    assert len(seen[0]) == 6
    for step, (x, _) in enumerate(seen[0]):  # of all training images, since nothing asks for some to be kept aside
        assert torch.equal(x, experiment.data.minibatch(SMALL.seed, step, SMALL.batch_size))
    for ours, theirs in zip(seen[0], seen[1], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not torch.equal(seen[0][0][0], seen[0][1][0])
    assert not torch.equal(seen[0][0][1], seen[0][1][1])


def test_patience_decides_on_the_last_training_images_and_trains_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, trained, seen = Experiment(replace(SMALL, steps=1, patience=9)), [], []
    kept = experiment.data.validating(SMALL.eval_images)
    gradient = Run.gradient

    def spy(run: Run, x: Tensor, step: int) -> tuple[float, float]:
        trained.append(x.clone())
        return gradient(run, x, step)

    def spied(model: Model, x: Tensor, *more: Any, **named: Any) -> Curves:
        seen.append(x)
        return bound_curves(model, x, *more, **named)

    monkeypatch.setattr(Run, "gradient", spy)
    monkeypatch.setattr("iwae_core.training.loop.bound_curves", spied)
    list(experiment.train())
    assert all(torch.equal(x, kept.minibatch(SMALL.seed, 0, SMALL.batch_size)) for x in trained)
    assert all(torch.equal(x, kept.held_out(SMALL.seed, SMALL.eval_images)) for x in seen)
    assert len(trained) == 2
    assert len(seen) == 4, "two runs, before and after the step"


def test_two_runs_of_one_estimator_stay_identical_and_different_ones_part() -> None:
    *_, last, _ = train(replace(SMALL, runs=(RunSpec("iwae", 3), RunSpec("iwae", 3), RunSpec("vae", 3))))
    assert isinstance(last, Snapshot)
    assert (last.iwae[0] == last.iwae[1]).all()
    assert (last.iwae[0] != last.iwae[2]).any()


def test_vae_and_iwae_are_the_same_at_one_sample() -> None:
    *_, last, _ = train(replace(SMALL, runs=(RunSpec("vae", 1), RunSpec("iwae", 1))))
    assert isinstance(last, Snapshot)
    assert (last.iwae[0] == last.iwae[1]).all()
    assert (last.samples[0] == last.samples[1]).all()


DRAWS_NO_MORE = [name for name, entry in ESTIMATORS.items() if entry.path != "sleep"]


@pytest.mark.parametrize("estimator", DRAWS_NO_MORE)
def test_micro_batches_give_the_gradient_of_the_whole_minibatch(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment(replace(SMALL, runs=(RunSpec(estimator, 3),)))
    run = experiment.runs[0]
    x = experiment.data.minibatch(0, 0, 8)
    gradients = []
    for rows in (10_000, 7):
        monkeypatch.setattr("iwae_core.training.run.ROWS", rows)
        monkeypatch.setattr(run.optimiser, "update", lambda: None)
        run.baseline = -500.0
        run.step(x, 0)
        gradients.append([parameter.grad.clone() for parameter in run.model.parameters() if parameter.grad is not None])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5 * max(1.0, float(whole.abs().max())), rtol=1e-4)


@pytest.mark.parametrize(("model", "seed"), [("one_layer", 0), ("two_layer", 1), ("sbn_2", 2)])
def test_every_estimator_reports_the_bounds_and_never_its_surrogate(model: str, seed: int) -> None:
    # A known mistake elsewhere: sum w~ log w, up to log k above the bound, shown as the bound. Before the first update
    # all runs have the same weights and noise, so whatever they climb they report the same numbers.
    spec = replace(SMALL, seed=seed)
    x = Experiment(spec).data.minibatch(seed, 0, 8)
    offered = MODELS[model].paths
    runs = [RunSpec(name, 3, model) for name, entry in ESTIMATORS.items() if entry.path in offered]
    mean = Experiment(spec).data.train_mean
    reported = [Run(run, spec, mean).step(x, 0) for run in runs]
    assert len(reported) >= 9
    for bounds in reported:
        assert bounds == pytest.approx(reported[0], abs=1e-3)
        assert bounds[0] < bounds[1] < bounds[0] + 300


def test_settings_change_the_training() -> None:
    runs = (RunSpec("renyi", 3, alpha=0.0), RunSpec("iwae", 3), RunSpec("renyi", 3), RunSpec("renyi", 3, alpha=1.0))
    *_, last, _ = train(replace(SMALL, runs=tuple(replace(run, backward="all") for run in runs)))
    assert isinstance(last, Snapshot)
    assert last.iwae[0] == pytest.approx(last.iwae[1], abs=2e-3)
    assert abs(last.iwae[2] - last.iwae[1]).max() > 0.01
    assert abs(last.iwae[2] - last.iwae[3]).max() > 0.01


def test_the_running_baseline_is_the_mean_log_weight_of_earlier_minibatches() -> None:
    experiment = Experiment(replace(SMALL, runs=(RunSpec("reinforce_running", 3), RunSpec("reinforce", 3))))
    run, seen = experiment.runs[0], []
    expected = 0.0
    for step in range(3):
        seen.append(run.baseline)
        elbo_before, _ = run.step(experiment.data.minibatch(0, step, 8), step)
        assert seen[-1] == pytest.approx(expected)
        expected = 0.9 * expected + 0.1 * elbo_before if step else elbo_before
    # It is what the estimator subtracts: without it the gradient is another.
    x, gradients = experiment.data.minibatch(0, 3, 8), []
    for run.baseline in (expected, 0.0):
        run.gradient(x, 3)
        gradients.append(torch.cat([p.grad.flatten() for p in run.phi if p.grad is not None]))
    assert not torch.allclose(*gradients, rtol=0.1)
    other = experiment.runs[1]
    for step in range(2):
        other.step(experiment.data.minibatch(0, step, 8), step)
    assert any(not torch.equal(a, b) for a, b in zip(run.model.phi, other.model.phi, strict=True))


@pytest.mark.parametrize("name", ["iwae", "dreg"])
def test_an_update_is_that_of_adam_with_the_constants_of_the_paper(name: str) -> None:
    spec = RunSpec(name, 3)
    run, x = Run(spec, SMALL, torch.full((784,), 0.2)), (torch.rand(8, 784) < 0.2).float()
    parameters = list(run.model.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for step in range(3):
        run.set_learning_rate(0.01 / (step + 1))
        bounds = run.gradient(x, step)
        expected = []
        for index, p in enumerate(parameters):
            assert p.grad is not None
            first[index] = 0.9 * first[index] + 0.1 * p.grad
            second[index] = 0.999 * second[index] + 0.001 * p.grad.square()
            mean, square = first[index] / (1 - 0.9 ** (step + 1)), second[index] / (1 - 0.999 ** (step + 1))
            expected.append(p.detach() - 0.01 / (step + 1) * mean / (square.sqrt() + 1e-4))
        run.update(bounds)
        for p, wanted in zip(parameters, expected, strict=True):
            torch.testing.assert_close(p.detach(), wanted, rtol=1e-4, atol=2e-7)


def test_an_update_is_the_one_of_torch_to_the_bit() -> None:
    sizes = ((30, 17), (17,), (5,))
    ours, theirs = ([torch.linspace(-1, 1, math.prod(size)).view(size) for size in sizes] for _ in range(2))
    fast, torchs = Adam(ours, 0.01), torch.optim.Adam(theirs, 0.01, betas=(0.9, 0.999), eps=1e-4, fused=True)
    for step in range(6):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            idle = index == step % 4  # no gradient: neither the parameter moves nor its count of steps
            gradient = torch.randn(sizes[index], generator=torch.Generator().manual_seed(10 * step + index))
            for parameter in pair:
                parameter.grad = None if idle else gradient
        for optimiser in (fast, torchs):
            optimiser.param_groups[0]["lr"] = 0.01 / (step + 1)
        fast.update()
        torchs.step()
        assert all(map(torch.equal, ours, theirs))
        if step == 3:  # and it goes on from what is saved
            fast.load_state_dict(copy.deepcopy(torchs.state_dict()))
    states = (optimiser.state_dict()["state"] for optimiser in (fast, torchs))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(*(s.values() for s in states), strict=True) for name in a)


def test_each_step_dreams_anew() -> None:
    # The sleep phase teaches phi dreams alone, so with theta as it is the step makes all the difference, and x none.
    run, x = Run(RunSpec("wake_sleep", 3), SMALL, torch.full((784,), 0.2)), torch.zeros(8, 784)
    gradients = []
    for step, observed in ((0, x), (0, 1 - x), (1, x)):
        run.gradient(observed, step)
        gradients.append(torch.cat([p.grad.flatten() for p in run.phi if p.grad is not None]))
    assert torch.equal(gradients[0], gradients[1])
    assert not torch.allclose(gradients[0], gradients[2], rtol=0.01)


def test_training_improves_both_models() -> None:
    events = list(train(replace(SMALL, steps=40, batch_size=50, eval_images=50)))
    first, last = events[1], events[-2]
    assert isinstance(first, Snapshot)
    assert isinstance(last, Snapshot)
    gain = estimate(last.iwae[:, -1] - first.iwae[:, -1])
    assert (gain.mean > 5 * gain.stderr).all()
    assert (gain.mean > 10).all()


def test_an_exploding_run_stops_and_says_why() -> None:
    experiment = Experiment(SMALL)
    with torch.no_grad():
        next(experiment.runs[1].model.parameters()).fill_(torch.nan)
    *_, evaluation, failed = experiment.train()
    assert isinstance(evaluation, Snapshot)
    assert failed == Failed(0, "run 2 (IWAE, k = 3): its ELBO became nan in step 1; try a smaller learning rate")


def test_evaluation_reads_only_and_ignores_grouping() -> None:
    experiment = Experiment(SMALL)
    model, x = experiment.runs[0].model, experiment.data.held_out(0, 60)
    before = [parameter.clone() for parameter in model.parameters()]
    whole = log_weights(model, x, 30, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(log_weights(model, x[40:], 30, seed=1, first=40), whole[:, 40:])
    assert whole.dtype == torch.float64
    curves = bound_curves(model, x, (1, 5, 30), seed=1)
    torch.testing.assert_close(curves.iwae[-1], iwae_bound(whole))
    torch.testing.assert_close(curves.iwae[0], elbo(whole))
    torch.testing.assert_close(curves.elbo, elbo(whole))


def test_a_model_of_more_digits_is_evaluated_with_them() -> None:
    experiment = Experiment(SMALL)
    model, x = experiment.runs[0].model, experiment.held_out[:2]
    rounded = log_weights(model, x, 50, seed=1)
    torch.testing.assert_close(log_weights(model.double(), x, 50, seed=1), rounded, atol=1e-3, rtol=0)


def test_every_image_has_noise_of_its_own_and_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Experiment(SMALL).runs[0].model, torch.zeros(5, 784)
    assert len(set(log_weights(model, x, 3, seed=1)[0].tolist())) == 5
    monkeypatch.setattr("iwae_core.evaluation.held_out.IMAGES", 2)
    reports: list[int] = []
    bound_curves(model, x, (1, 3), 1, reports.append)
    assert reports == [2, 4, 5]


def test_evaluation_splits_many_samples_without_changing_them(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(SMALL)
    model, x = experiment.runs[0].model, experiment.held_out[:2]

    def values(rows: int) -> LogWeights:
        monkeypatch.setattr("iwae_core.evaluation.held_out.ROWS", rows)
        return log_weights(model, x, 50, seed=1)

    torch.testing.assert_close(values(7), values(1000), atol=1e-4, rtol=0)


def test_evaluation_changes_with_the_data() -> None:
    # A known mistake elsewhere: a "test" loop that read the last training batch.
    experiment = Experiment(SMALL)
    model = experiment.runs[0].model
    first, second = (bound_curves(model, experiment.data.held_out(seed, 5), (1, 20), 0) for seed in (0, 1))
    assert not torch.equal(first.iwae, second.iwae)


def test_evaluated_bounds_are_unbiased_for_a_model_with_a_known_likelihood() -> None:
    # A decoder that ignores h has log p(x) in closed form, and its posterior is the prior: L_1 = log p(x) -
    # KL(q || prior), and L_k rises towards log p(x).
    experiment = Experiment(SMALL)
    model, x = experiment.runs[0].model, experiment.held_out
    logits, q = model.generative.layers[-1].network[-1], model.recognition.layers[0].network  # type: ignore[attr-defined]
    with torch.no_grad():
        logits.weight.zero_()
        q.mean.weight.mul_(0.3)
        q.log_scale.weight.mul_(0.1)
        mean, log_scale = q(x)
        log_p = torch.distributions.Bernoulli(logits=logits.bias).log_prob(x).sum(-1)
    kl = (0.5 * (mean**2 + (2 * log_scale).exp() - 1) - log_scale).sum(-1)
    curves = bound_curves(model, x, (1, 10, 1000, 20_000), seed=0)
    weights = log_weights(model, x, 20_000, seed=0)
    error = (curves.elbo - (log_p - kl)) / (weights.std(0) / 20_000**0.5)
    assert error.abs().max() < 5
    gap = (log_p - curves.iwae).mean(1)
    assert (gap.diff() < 0).all()
    assert abs(float(gap[-1])) < 0.02 * float(gap[0])


def test_checkpointed_models_evaluate_identically() -> None:
    experiment = Experiment(SMALL)
    *_, last, _ = experiment.train()
    assert isinstance(last, Snapshot)
    spec, models = load_models(experiment.state_dict())
    assert spec == SMALL
    again = bound_curves(models[1], experiment.held_out, SMALL.eval_ks, SMALL.seed)
    assert (again.iwae.float().numpy() == last.iwae[1]).all()


def test_history_is_the_fold_of_the_records() -> None:
    spec = replace(SMALL, runs=tuple(replace(run, backward="all") for run in SMALL.runs))
    events = list(train(spec))
    records = [Record(number, 0.5 * number, event) for number, event in enumerate(events)]
    history = History(records[:4])
    assert history.step == 2
    assert history.outcome is None
    history.extend(records[4:])
    assert history.spec == spec
    assert history.step == 6
    assert history.length == len(records)
    assert history.outcome == events[-1]
    steps, seconds, elbo, iwae, costs, kept = history.training
    assert steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert history.steps_per_second() == pytest.approx(5 / (seconds[-1] - seconds[0]))
    progress = [event for event in events if isinstance(event, Progress)]
    assert elbo.tolist() == [list(event.elbo) for event in progress]
    assert iwae.tolist() == [list(event.iwae) for event in progress]
    assert costs.tolist() == [list(event.cost) for event in progress]
    assert (kept == 1).all()


def test_standard_errors() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (500, 400)).astype(np.float32)
    mean, stderr = estimate(values)
    assert stderr == pytest.approx(0.1, rel=0.2)
    assert np.std((mean - 3.0) / stderr) == pytest.approx(1.0, rel=0.1)
    assert estimate(np.array([[0.0, 2.0]])) == (1.0, 1.0)
    single = values - np.float32(9000)
    for rounded, exact in zip(estimate(single), estimate(single.astype(np.float64)), strict=True):
        np.testing.assert_allclose(rounded, exact, rtol=1e-13)
