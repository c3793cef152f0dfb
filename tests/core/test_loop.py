"""What the training loop does between two steps: evaluate, swap, end, be saved and go on."""

import copy
from dataclasses import replace
from itertools import pairwise
from threading import Event
from time import process_time, sleep

import numpy as np
import pytest
import torch
from torch import Tensor

from iwae_core.training import events as told
from iwae_core.training.events import Finished, Progress, Snapshot, Swapped
from iwae_core.training.fields import SpecError
from iwae_core.training.loop import ASK_EVERY, Experiment, GivenUpError
from iwae_core.training.patience import Patience
from iwae_core.training.process import one_thread
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap

# Evaluations after steps 0, 3, 6 and 7.
SPARSE = ExperimentSpec(
    runs=(RunSpec("vae", 3), RunSpec("reinforce_running", 3)), batch_size=7, steps=7, eval_images=2, eval_k=47, seed=4
)
SWAPPED = replace(SPARSE, swaps=(Swap(run=0, step=2, estimator="dreg", k=5), Swap(run=1, step=6, estimator="vae", k=2)))
# An evaluation after every step.
IMPATIENT = replace(SPARSE, eval_k=1, patience=2)


def steps(events: list[told.Event], kind: type[Progress | Snapshot | Swapped]) -> list[int]:
    return [event.step for event in events if isinstance(event, kind)]


def test_planned_swaps_are_made_once_each_in_their_step() -> None:
    experiment = Experiment(SWAPPED)
    events = list(experiment.train())
    assert steps(events, Snapshot) == [0, 3, 6, 7]
    assert [event for event in events if isinstance(event, Swapped)] == [
        Swapped(2, 0, "dreg", 5),
        Swapped(6, 1, "vae", 2),
    ]
    assert tuple(experiment.swaps) == SWAPPED.swaps
    assert [(run.spec.estimator, run.spec.k) for run in experiment.runs] == [("dreg", 5), ("vae", 2)]
    after = [type(following) for event, following in pairwise(events) if isinstance(event, Swapped)]
    assert after == [Progress, Progress]


def test_after_a_swap_evaluations_are_as_far_apart_as_the_new_k_allows() -> None:
    spec = replace(SPARSE, swaps=(Swap(run=0, step=1, estimator="vae", k=50),))
    assert steps(list(Experiment(spec).train()), Snapshot) == [0, 2, 3, 4, 5, 6, 7]
    experiment = Experiment(replace(SPARSE, batch_size=1000))
    experiment.swap(0, "vae", 400)
    with pytest.raises(SpecError, match="k times batch_size must be at most 500,000; got 501,000"):
        experiment.swap(1, "vae", 501)
    assert [run.spec.k for run in experiment.runs] == [400, 3]


@pytest.mark.parametrize("spec", [SPARSE, SWAPPED, IMPATIENT])
def test_between_steps_is_where_a_step_follows(spec: ExperimentSpec) -> None:
    experiment = Experiment(spec)
    told = [(experiment.between_steps, experiment.begun, event) for event in experiment.train()]
    assert told[0][1] is False
    assert all(begun for _, begun, _ in told[1:])
    for (between, *_), (*_, following) in pairwise(told):
        assert between == isinstance(following, Progress)


@pytest.mark.parametrize(("after", "evaluated"), [(Progress, [0, 3, 4]), (Snapshot, [0, 3])])
def test_an_end_that_is_asked_for_is_evaluated_once(after: type[Progress | Snapshot], evaluated: list[int]) -> None:
    experiment, events = Experiment(SPARSE), []
    for event in experiment.train():
        events.append(event)
        if isinstance(event, after) and event.step == evaluated[-1]:
            experiment.end("enough")
            assert not experiment.between_steps
    assert steps(events, Progress) == list(range(1, evaluated[-1] + 1))
    assert steps(events, Snapshot) == evaluated
    assert events[-1] == Finished(evaluated[-1], reason="enough")


@pytest.mark.parametrize(("swap_at", "ends_at"), [(None, 1), (0, 2), (3, 5)])
def test_patience_ends_training_but_not_before_the_last_planned_swap(
    swap_at: int | None, ends_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disappointed(patience: Patience, bounds: object) -> None:
        patience.count += 1

    monkeypatch.setattr(Patience, "look", disappointed)
    swaps = () if swap_at is None else (Swap(run=0, step=swap_at, estimator="iwae", k=3),)
    events = list(Experiment(replace(IMPATIENT, swaps=swaps)).train())
    assert events[-1] == Finished(ends_at, reason="no bound improved in 2 evaluations")
    assert steps(events, Snapshot) == list(range(ends_at + 1))
    assert len(steps(events, Swapped)) == len(swaps)


def test_a_bound_that_is_not_finite_is_no_improvement() -> None:
    patience, lost = Patience(), np.full((2, 3), -np.inf, np.float32)
    for count in range(3):
        patience.look(lost)
        assert patience.count == count
    patience.look(np.array([[-1, -1, -1], [-np.inf] * 3], np.float32))
    assert patience.count == 3, "from -inf to -1: infinite, and its error as well"


@pytest.mark.parametrize("saved_at", [1, 2, 4, 6])
def test_what_follows_a_saved_state_is_the_same_to_the_bit(saved_at: int) -> None:
    experiment, again = Experiment(SWAPPED), Experiment(SWAPPED)
    events, rest = experiment.train(), again.train()
    while not (experiment.step == saved_at and experiment.between_steps):
        next(events)
    again.load_state_dict(copy.deepcopy(experiment.state_dict()))
    assert again.begun
    assert again.swaps == [swap for swap in SWAPPED.swaps if swap.step <= saved_at]
    for one, other in zip(events, rest, strict=True):
        if isinstance(one, Snapshot):
            assert isinstance(other, Snapshot)
            assert one.step == other.step
            assert np.array_equal(one.iwae, other.iwae)
        else:
            assert one == other


def test_a_step_is_given_up_while_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    began, goes_on = Event(), Event()

    def endless(run: Run, x: Tensor, step: int) -> tuple[float, float]:
        began.set()
        goes_on.wait(60)
        return 0.0, 0.0

    monkeypatch.setattr(Run, "gradient", endless)
    experiment = Experiment(SPARSE, give_up=began.is_set)
    with pytest.raises(GivenUpError):
        list(experiment.train())
    assert not goes_on.is_set()
    assert experiment.step == 0
    goes_on.set()


def test_a_long_step_is_waited_for_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(run: Run, x: Tensor, step: int) -> tuple[float, float]:
        sleep(3 * ASK_EVERY)
        return gradient(run, x, step)

    gradient = Run.gradient
    monkeypatch.setattr(Run, "gradient", slow)
    experiment = Experiment(SPARSE)
    next(event for event in experiment.train() if isinstance(event, Progress))
    assert experiment.step == 1


def test_a_look_is_at_the_first_image_of_the_next_minibatch() -> None:
    experiment = Experiment(SPARSE)
    x = experiment.data.minibatch(SPARSE.seed, 0, SPARSE.batch_size)
    before = experiment.look()
    assert torch.equal(before.x, x[:1])
    assert [tuple(run.decoded.shape) for run in before.runs] == [(3, 784)] * 2
    with pytest.raises(ValueError, match="exactly one step after look; 0 were made"):
        experiment.compare(before)


def test_what_was_evaluated_before_it_was_saved_is_not_evaluated_again_to_end() -> None:
    experiment, again = Experiment(SPARSE), Experiment(SPARSE)
    evaluation = next(event for event in experiment.train() if isinstance(event, Snapshot) and event.step == 3)
    again.load_state_dict(experiment.state_dict())
    again.end("enough")
    assert list(again.train()) == [Finished(evaluation.step, reason="enough")]


def test_events_of_older_programs_have_no_cost_and_nothing_but_bounds_and_pictures() -> None:
    old, new = Progress(1, (0.0,), (0.5,)), Progress(1, (0.0,), (0.5,), cost=(3.0,))
    assert old == new, "what a step cost is no part of what happened"
    assert (old.cost, old.kept) == ((), ())
    some = np.ones((1, 1), np.float32)
    snapshot = Snapshot(0, some, some, some.astype(np.uint8), some.astype(np.uint8))
    later = ("spread", "log_weights", "active", "units", "log_p", "plane", "plane_box", "plane_q", "plane_samples")
    assert [getattr(snapshot, name).size for name in later] == [0] * 9
    assert Finished(3) == Finished(3, stopped=False, reason="")


def test_one_parameter_that_is_no_number_is_enough() -> None:
    experiment = Experiment(SPARSE)
    assert experiment.finite
    with torch.no_grad():
        next(experiment.runs[1].model.parameters())[3, 5] = torch.inf
    assert not experiment.finite


def test_what_is_told_of_a_step_is_short() -> None:
    events = Experiment(replace(SPARSE, runs=(RunSpec("vae", 3), RunSpec("iwae", 3)), steps=1)).train()
    began = process_time()
    progress = next(event for event in events if isinstance(event, Progress))
    assert min(progress.cost) > 0
    assert sum(progress.cost) < process_time() - began
    assert progress.kept[0] == 1
    for value in (*progress.kept, *progress.cost):
        assert value == round(value, 5)
    assert progress.kept[1] * 21 == pytest.approx(round(progress.kept[1] * 21), abs=1e-3), "premise: of 21 rows"
    assert progress.kept[1] * 21 != round(progress.kept[1] * 21), "premise: that many take more than 5 digits"


def test_a_swapped_run_has_the_gradient_of_its_new_estimator() -> None:
    x = (torch.rand(7, 784, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    mean = torch.full((784,), 0.2)
    swapped, new = Run(RunSpec("vae", 3), SPARSE, mean), Run(RunSpec("dreg", 4), SPARSE, mean)
    swapped.swap("dreg", 4)
    assert swapped.gradient(x, 0) == new.gradient(x, 0)
    for one, other in zip(swapped.model.parameters(), new.model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_whichever_number_is_broken_is_named() -> None:
    run = Run(RunSpec("iwae", 3), SPARSE, torch.full((784,), 0.2))
    run.gradient(torch.zeros(7, 784), 0)
    assert run.broken((-5.0, -4.0)) == ""
    assert run.broken((-np.inf, -4.0)) == "its ELBO became -inf"
    assert run.broken((-5.0, np.inf)) == "its L_3 became inf"
    bias = [parameter for parameter in run.model.parameters() if parameter.dim() == 1][-1]
    assert bias.grad is not None
    bias.grad[0] = torch.nan
    assert run.broken((-5.0, -4.0)) == "its gradient became nan"


def test_one_thread_is_one_whatever_the_callers_setting() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert one_thread(torch.get_num_threads)() == 1
    finally:
        torch.set_num_threads(before)
