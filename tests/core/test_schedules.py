"""The learning rate falls as in the paper, whatever the length of the run."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iwae_core.training.events import Progress
from iwae_core.training.loop import Experiment
from iwae_core.training.schedules import SCHEDULES, burda, burda_swap
from iwae_core.training.spec import MAX_STEPS, ExperimentSpec, RunSpec

# 0.001 * 10^(-i/7) to nine decimals, and the passes over the data before stage i: 1 + 3 + ... + 3^(i-1).
RATES = (0.001, 0.000719686, 0.000517947, 0.000372759, 0.000268270, 0.000193070, 0.000138950, 0.0001)
BEGINS = (0, 1, 4, 13, 40, 121, 364, 1093)
STEPS_PER_PASS = 60_000 // 20
STAGES = list(zip(RATES, BEGINS, (*BEGINS[1:], 3280), strict=True))


@pytest.mark.parametrize(("rate", "begin", "end"), STAGES)
def test_stages_of_the_paper(rate: float, begin: int, end: int) -> None:
    for step in begin * STEPS_PER_PASS, end * STEPS_PER_PASS - 1:
        assert 0.001 * burda(step, 9_840_000) == pytest.approx(rate, abs=5e-10)
        assert burda_swap(step, 16_401_000) == burda(step, 9_840_000)


def test_a_short_run_keeps_the_proportions() -> None:
    counts = Counter(burda(step, 3280) for step in range(3280))
    assert sorted(counts.values()) == [1, 3, 9, 27, 81, 243, 729, 2187]
    assert counts[0.1] == 2187
    # Table 2 of the paper: 3^7 more passes at the last learning rate.
    counts = Counter(burda_swap(step, 5467) for step in range(5467))
    assert sorted(counts.values()) == [1, 3, 9, 27, 81, 243, 729, 2187 + 2187]


@pytest.mark.parametrize("schedule", list(SCHEDULES.values()), ids=SCHEDULES)
@given(steps=st.integers(1, MAX_STEPS), data=st.data())
def test_a_schedule_begins_at_one_and_never_rises(schedule, steps, data) -> None:  # type: ignore[no-untyped-def]
    later = data.draw(st.integers(0, steps - 1))
    earlier = data.draw(st.integers(0, later))
    assert schedule(0, steps) == 1
    assert 0.1 <= schedule(later, steps) <= schedule(earlier, steps)


def test_every_optimiser_follows_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = (RunSpec("vae", 1), RunSpec("iwae", 2))
    experiment = Experiment(
        ExperimentSpec(runs, batch_size=2, steps=9, learning_rate=0.01, eval_images=2, eval_k=2, schedule="burda")
    )
    seen: list[list[float]] = [[], []]
    for run, rates in zip(experiment.runs, seen, strict=True):

        def spy(rates: list[float] = rates, optimiser: torch.optim.Optimizer = run.optimiser) -> None:
            rates.append(optimiser.param_groups[0]["lr"])

        monkeypatch.setattr(run.optimiser, "update", spy)
    assert sum(isinstance(event, Progress) for event in experiment.train()) == 9
    # 3280 parts of 9 steps: stage 6 begins after part 364, which is step 0.999; stage 7 after 1093, step 2.999.
    assert seen[0] == pytest.approx([0.01, 0.01 * 10 ** (-6 / 7), 0.01 * 10 ** (-6 / 7), *[0.001] * 6])
    assert seen[0] == seen[1]


def test_schedules_say_what_they_are_and_whose() -> None:
    assert SCHEDULES["constant"](0, 9) == SCHEDULES["burda"](0, 9) == SCHEDULES["burda_swap"](0, 9) == 1
    assert all(schedule.label for schedule in SCHEDULES.values())
    assert [name for name, schedule in SCHEDULES.items() if "Burda" in schedule.source] == ["burda", "burda_swap"]
