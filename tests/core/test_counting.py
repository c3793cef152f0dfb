"""Backward passes through the rows that count: the same gradient on average, exactly, for every estimator."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from math import prod

import pytest
import torch
from torch import Tensor

from iwae_core.draws import Cotangents
from iwae_core.estimators import ESTIMATORS
from iwae_core.estimators.counting import counting, thinned
from iwae_core.models import MODELS, Model
from iwae_core.models.burda import gaussian_mlp
from iwae_core.models.sigmoid_belief import sigmoid_belief
from iwae_core.training.adam import Adam
from iwae_core.training.events import Failed, Progress, Record, decode, encode
from iwae_core.training.loop import Experiment, train
from iwae_core.training.rows import surrogate_of_rows
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.history.history import History

K = 4
PIXEL_MEANS = torch.linspace(0.1, 0.9, 12)
SIZES: dict[str, Callable[[torch.Generator], Model]] = {
    "one_layer": lambda r: gaussian_mlp(PIXEL_MEANS, r, units=(3,), hidden=(4,)),
    "two_layer": lambda r: gaussian_mlp(PIXEL_MEANS, r, units=(3, 2), hidden=(4, 3)),
    "sbn_1": lambda r: sigmoid_belief(PIXEL_MEANS, r, units=(3,)),
    "sbn_2": lambda r: sigmoid_belief(PIXEL_MEANS, r, units=(4, 3)),
}
CASES = [
    (model, name)
    for model in SIZES
    for name, entry in ESTIMATORS.items()
    if entry.c and entry.path in MODELS[model].paths
]


def run_of(model: str, name: str, c: float, images: int) -> tuple[Run, Tensor]:
    """A run of a small model in double precision, and a minibatch."""
    spec = ExperimentSpec((RunSpec(name, K, model, backward="counting"),), batch_size=images, steps=1)
    run = Run(spec.runs[0], spec, PIXEL_MEANS)
    randomness = torch.Generator().manual_seed(1)
    run.estimator, run.model = replace(run.estimator, c=c), SIZES[model](randomness).double()
    run.theta, run.phi = run.model.theta, run.model.phi
    run.optimiser = Adam(run.model.parameters(), 1e-3)
    return run, (torch.rand(images, len(PIXEL_MEANS), generator=randomness) < 0.4).double()


def gradient(run: Run, x: Tensor) -> Tensor:
    run.gradient(x, 0)
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in run.model.parameters()]
    )


def full_gradient(run: Run, x: Tensor) -> Tensor:
    run.spec = replace(run.spec, backward="all")
    found = gradient(run, x)
    run.spec = replace(run.spec, backward="counting")
    return found


def every_coin(run: Run, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[float, Tensor]]:
    """Coins that stand for all there are, with their probabilities: what is kept changes at some pull's p_i only."""
    seen: list[Tensor] = []

    def watched(pulls: Cotangents, uniform: Tensor, c: float) -> Cotangents:
        seen.extend((pull.abs() / (c * pull.abs().mean(0))).clamp(max=1) for pull in pulls)
        return counting(pulls, uniform, c)

    monkeypatch.setattr("iwae_core.training.run.counting", watched)
    gradient(run, x)
    monkeypatch.undo()
    ends = [sorted({0.0, 1.0, *map(float, of_row)} - {torch.nan}) for of_row in torch.stack(seen).flatten(1).T]
    ranges = [[(b - a, (a + b) / 2) for a, b in pairwise(row) if b - a > 1e-14] for row in ends]
    for chosen in product(*ranges):
        yield prod(length for length, _ in chosen), torch.tensor([u for _, u in chosen]).double().view(K, -1)


@pytest.mark.parametrize(("model", "name"), CASES)
def test_the_mean_over_all_coins_is_the_full_gradient(model: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, x = run_of(model, name, c=0.9, images=1)
    full, mean, total, different = full_gradient(run, x), 0.0, 0.0, set()
    for probability, coins in every_coin(run, x, monkeypatch):
        run.coins = lambda images, step, coins=coins: coins  # type: ignore[method-assign, misc]
        found = gradient(run, x)
        mean, total = mean + probability * found, total + probability
        different.add(run.kept)
    assert total == pytest.approx(1, abs=1e-13)
    assert len(different) > 1, "some coins must leave out more rows than others"
    assert float((mean - full).abs().max()) <= 1e-12 * float(full.abs().max())


@pytest.mark.parametrize(("model", "name"), CASES)
def test_with_c_near_zero_it_is_the_full_gradient(model: str, name: str) -> None:
    run, x = run_of(model, name, c=1e-13, images=3)
    torch.testing.assert_close(gradient(run, x), full_gradient(run, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["iwae", "dreg", "vimco", "reinforce_iwae"])
def test_slices_of_a_minibatch_keep_the_same_rows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, x = run_of("one_layer", name, c=0.9, images=5)
    whole, kept = gradient(run, x), run.kept
    monkeypatch.setattr("iwae_core.training.run.ROWS", 2 * K)
    torch.testing.assert_close(gradient(run, x), whole, rtol=1e-10, atol=1e-12)
    assert run.kept == pytest.approx(kept)
    assert 0 < kept < 1


def test_a_small_pull_is_rounded_to_the_threshold_or_to_zero() -> None:
    pull = torch.tensor([[-4.0], [0.5], [-0.5], [0.0], [1.0]])  # the mean size is 1.2, the threshold 0.6
    for u, wanted in ((0.83, [-4.0, 0.6, -0.6, 0.0, 1.0]), (0.84, [-4.0, 0.0, 0.0, 0.0, 1.0])):
        assert thinned(pull, torch.full_like(pull, u), 0.5).flatten().tolist() == pytest.approx(wanted)
    assert thinned(pull * torch.nan, torch.rand(5, 1), 0.5).isnan().all(), "what went wrong must be seen"


def test_rows_without_a_pull_are_never_needed() -> None:
    # Where one weight is all there is, the wake-phi update of RWS-DReG has no pull at all.
    nothing = torch.zeros(3, 2)
    assert len(counting(Cotangents(nothing, nothing, nothing), torch.zeros(3, 2), 0.5).rows) == 0
    run, x = run_of("two_layer", "iwae", c=0.5, images=2)
    run.estimator = replace(run.estimator, weights=torch.zeros_like)
    assert gradient(run, x).count_nonzero() == 0


TRAINED = (("iwae", "one_layer"), ("dreg", "two_layer"), ("vimco", "sbn_2"))
COUNTING = ExperimentSpec(
    tuple(RunSpec(name, 6, model, backward="counting") for name, model in TRAINED),
    batch_size=4,
    steps=4,
    eval_images=2,
    eval_k=2,
)


def test_a_resumed_training_is_the_same_to_the_bit() -> None:
    whole, first, second = (Experiment(COUNTING) for _ in range(3))
    expected = [event for event in whole.train() if isinstance(event, Progress)]
    events = (event for event in first.train() if isinstance(event, Progress))
    assert [next(events), next(events)] == expected[:2]
    second.load_state_dict(first.state_dict())
    assert [event for event in second.train() if isinstance(event, Progress)] == expected[2:]
    for ours, theirs in zip(second.runs, whole.runs, strict=True):
        assert all(map(torch.equal, ours.model.parameters(), theirs.model.parameters()))


def test_the_share_of_rows_kept_is_told_and_logged() -> None:
    records = [Record(number, 0.0, event) for number, event in enumerate(train(COUNTING))]
    steps = [record for record in records if isinstance(record.event, Progress)]
    told = [record.event.kept for record in steps if isinstance(record.event, Progress)]
    assert [decode(encode(record)) for record in steps] == steps
    assert History(records).training.kept.tolist() == [list(shares) for shares in told]
    assert all(1 / 6 < share < 1 for shares in told for share in shares), told
    full = replace(COUNTING, runs=tuple(replace(run, backward="all") for run in COUNTING.runs))
    assert {event.kept for event in train(full) if isinstance(event, Progress)} == {()}


def test_the_same_sample_of_an_image_has_the_same_coin_in_every_run() -> None:
    spec = ExperimentSpec((RunSpec("iwae", 50), RunSpec("dreg", 6, "two_layer")), seed=3)
    one, other = (Run(run, spec, torch.full((784,), 0.5)) for run in spec.runs)
    assert torch.equal(one.coins(100, 7)[:6], other.coins(100, 7))
    assert not torch.equal(one.coins(100, 7), one.coins(100, 8))
    assert not torch.equal(one.coins(100, 7)[:, 0], one.coins(100, 7)[:, 1])


@pytest.mark.parametrize("name", [name for name, entry in ESTIMATORS.items() if not entry.c])
def test_an_estimator_whose_rows_all_count_is_left_as_it_is(name: str) -> None:
    model = "one_layer"
    losses = []
    for backward in ("all", "counting"):
        spec = ExperimentSpec((RunSpec(name, 3, model, backward=backward),), batch_size=2)
        run = Run(spec.runs[0], spec, PIXEL_MEANS)
        losses.append((run.step(torch.ones(2, 12), 0), run.step(torch.ones(2, 12), 1), run.kept))
    assert losses[0] == losses[1]
    assert losses[0][-1] == 1


def test_a_gradient_that_is_not_finite_ends_the_training() -> None:
    experiment = Experiment(COUNTING)
    with torch.no_grad():
        next(experiment.runs[0].model.parameters()).fill_(torch.nan)
    *_, failed = experiment.train()
    assert isinstance(failed, Failed)


def test_a_row_on_which_log_q_alone_pulls_takes_part() -> None:
    model, x = SIZES["two_layer"](torch.Generator().manual_seed(1)).double(), torch.zeros(2, 12, dtype=torch.float64)
    noise = model.noise(K, 2, torch.Generator().manual_seed(2))
    encoded = tuple(part.detach() for part in model.encode(x))
    zero, q = torch.zeros(K, 2, dtype=torch.float64), torch.zeros(K, 2, dtype=torch.float64)
    q[1, 0] = 0.7
    draws = model.draw(x, noise, encoded=encoded)
    found = surrogate_of_rows(model, x, noise, encoded, draws, Cotangents(zero, zero, q))
    upper = list(model.recognition.layers[1].network.log_scale.parameters())  # type: ignore[union-attr]
    ours = torch.autograd.grad(found.phi.sum(), upper)
    wanted = torch.autograd.grad((q * draws.log_q).sum(), upper)
    for one, other in zip(ours, wanted, strict=True):
        assert other.any()
        torch.testing.assert_close(one, other)
