"""One validator for everybody: limits, names and a faithful round trip."""

import json
from dataclasses import MISSING, make_dataclass, replace
from typing import Any

import pytest
import torch

from iwae_core.models import MODELS
from iwae_core.registry import Registry, UnknownNameError
from iwae_core.training.fields import Limits, SpecError, choices, in_environment, limits, name, number
from iwae_core.training.memory import EVALUATED, memory_mb, require_memory, run_mb
from iwae_core.training.run import Run
from iwae_core.training.schedules import SCHEDULES, Schedule
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap, changed
from iwae_core.training.starts import STARTS, Start


def test_round_trip() -> None:
    spec = ExperimentSpec(runs=(RunSpec("iwae", 7),), steps=12, learning_rate=0.01)
    assert ExperimentSpec.from_json(spec.to_json()) == spec
    swaps = tuple(Swap(run=1, step=step, estimator="vae", k=3) for step in (2, 0))
    spec = ExperimentSpec(schedule="burda", swaps=swaps)
    assert ExperimentSpec.from_json(spec.to_json()) == spec


def test_defaults_and_ranges_are_those_that_are_told() -> None:
    assert {name: (of.minimum, of.maximum) for name, of in limits(ExperimentSpec).items()} == {
        "batch_size": (1, 1000),
        "learning_rate": (1e-6, 0.1),
        "steps": (1, 20_000_000),
        "seed": (0, 2**31 - 1),
        "eval_images": (2, 10_000),
        "eval_k": (1, 10_000),
        "seconds": (0.1, 1e7),
        "patience": (1, 1000),
    }
    of_run = {"k": (1, 5000), "alpha": (-20.0, 20.0), "beta": (0.0, 1.0), "repeats": (1, 5000)}
    assert {name: (of.minimum, of.maximum) for name, of in limits(RunSpec).items()} == of_run
    run = {"alpha": None, "beta": None, "repeats": None, "backward": "counting"}
    assert json.loads(ExperimentSpec().to_json()) == {
        "runs": [{"estimator": name, "k": 50, "model": "one_layer"} | run for name in ("vae", "iwae")],
        "dataset": "mnist",
        "batch_size": 100,
        "learning_rate": 1e-3,
        "steps": 3000,
        "seed": 0,
        "eval_images": 100,
        "eval_k": 1000,
        "schedule": "constant",
        "swaps": [],
        "seconds": None,
        "patience": None,
        "start": "random",
        "binarisation": "dynamic",
    }
    assert RunSpec() == RunSpec("iwae", 50, "one_layer")


def test_json_for_people_has_lines() -> None:
    spec = ExperimentSpec()
    assert "\n" not in spec.to_json()
    assert "\n  " in spec.to_json(indent=2)
    assert ExperimentSpec.from_json(spec.to_json(indent=2)) == spec


def test_a_refusal_keeps_its_words_in_json() -> None:
    with pytest.raises(SpecError, match=r"^unknown estimator 'vea'; choose from vae, "):
        ExperimentSpec.from_json(json.dumps({"runs": [{"estimator": "vea"}]}))


def test_what_is_no_default_is_told() -> None:
    assert changed(ExperimentSpec(steps=5, batch_size=100), ["steps", "batch_size", "seed"]) == {"steps": 5}
    assert changed(RunSpec("vae", 50), ["k", "estimator"]) == {"estimator": "vae"}


def test_the_environment_sets_numbers() -> None:
    given = {"IWAE_STEPS": "12", "IWAE_LEARNING_RATE": "0.5", "IWAE_SEED": "", "IWAE_DATASET": "mnist", "STEPS": "7"}
    assert in_environment(ExperimentSpec, given) == {"steps": 12, "learning_rate": 0.5}
    with pytest.raises(
        SpecError, match=r"IWAE_STEPS \(training steps\) must be a whole number from 1 to .*; got '1.5'"
    ):
        in_environment(ExperimentSpec, {"IWAE_STEPS": "1.5"})


def test_evaluations_grow_rarer_by_a_fiftieth_of_the_steps_made() -> None:
    spec = ExperimentSpec(steps=100_000)
    assert spec.next_snapshot(0) == 14
    assert spec.next_snapshot(50_000) == 51_000
    assert spec.next_snapshot(99_999) == 100_000


def test_a_trained_start_fits_its_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS["one_layer_2d"](torch.full((784,), 0.5), torch.Generator().manual_seed(9))
    monkeypatch.setitem(STARTS._items, "trained", Start(model.state_dict, "trained", "one_layer_2d"))
    spec = ExperimentSpec((RunSpec("iwae", 3, "one_layer_2d"),), start="trained")
    started = Run(spec.runs[0], spec, torch.full((784,), 0.2)).model
    assert all(map(torch.equal, started.parameters(), model.parameters()))
    with pytest.raises(
        SpecError, match="'trained' are those of a one_layer_2d, and a run is a one_layer; set model to"
    ):
        replace(spec, runs=(*spec.runs, RunSpec("iwae", 3)))


def test_limits_of_time_and_patience_survive_json() -> None:
    spec = ExperimentSpec(seconds=90.5, patience=3)
    assert ExperimentSpec.from_json(spec.to_json()) == spec
    assert (ExperimentSpec().seconds, ExperimentSpec().patience) == (None, None)
    # Two evaluations each time, of test images and of those kept aside: twice as long until the next.
    patient, plain = (ExperimentSpec(patience=p, eval_k=3000).next_snapshot(0) for p in (1, None))
    assert (patient, plain) == (80, 40)


def test_memory_grows_with_the_noise_and_its_refusal_says_what_would_fit() -> None:
    runs = (RunSpec("vimco", 5000, "sbn_3"),) * 4
    spec = ExperimentSpec(runs, batch_size=100)
    noise = 4 * 4 * 5000 * 100 * 600 / 1e6  # runs, bytes, samples, images, binary units
    assert noise < memory_mb(spec) < noise + 1500
    with pytest.raises(
        SpecError, match=r"needs about 6,\d\d\d MB of memory, and 3,000 MB are allowed; reduce k, or batch"
    ) as e:
        require_memory(spec, 3000)
    fitting = int(str(e.value).rsplit(" ", 1)[1])
    require_memory(replace(spec, batch_size=fitting), 3000)
    require_memory(spec, memory_mb(spec))
    with pytest.raises(SpecError, match="reduce k, or batch_size"):
        require_memory(replace(spec, batch_size=fitting + 1), 3000)
    with pytest.raises(SpecError, match="reduce k, or train fewer runs at once"):
        require_memory(replace(spec, batch_size=1), 700)
    swapped = replace(spec, runs=(RunSpec("vimco", 2, "sbn_3"),), swaps=(Swap(run=0, step=9, estimator="rws", k=5000),))
    assert memory_mb(swapped) == memory_mb(ExperimentSpec((RunSpec("rws", 5000, "sbn_3"),)))


def test_memory_of_an_evaluation_is_at_least_that_of_its_noise_and_log_weights() -> None:
    more = run_mb("sbn_3", 1, 100, 10_000) - run_mb("sbn_3", 1, 100, 0)
    assert 10_000 * (600 * 4 + EVALUATED * 8) / 1e6 <= more < 200
    assert memory_mb(ExperimentSpec((RunSpec("vae", 1),), batch_size=1)) == 690, "that of reading the data"


def test_specifications_from_before_schedules_and_swaps_are_still_read() -> None:
    old = {"runs": [{"estimator": "vae", "k": 5, "model": "one_layer"}], "steps": 7}
    assert ExperimentSpec.from_json(json.dumps(old)) == ExperimentSpec((RunSpec("vae", 5, backward="all"),), steps=7)


@pytest.mark.parametrize("field", limits(ExperimentSpec))
@pytest.mark.parametrize("value", [-1, 10**9 + 1, float("nan"), float("inf"), "x", None, [1], True])
def test_absurd_numbers_are_refused_by_name(field: str, value: object) -> None:
    if field == "seed" and value == 10**9 + 1:
        value = 2**31
    if value is None and getattr(ExperimentSpec(), field) is None:
        value = "None"  # the default: no limit
    with pytest.raises(SpecError, match=rf"^{field} \(.*\) must be a (whole )?number from .* to .*; got"):
        replace(ExperimentSpec(), **{field: value})


@pytest.mark.parametrize("k", [0, -1, 5001, 2.0, "5", True])
def test_absurd_k_is_refused(k: object) -> None:
    with pytest.raises(SpecError, match=r"k \(training k: samples per image\) must be a whole number from 1 to 5,000"):
        RunSpec("iwae", k)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "iwae", "model": "sbn_2"}, "needs continuous.* Use estimator='vimco'"),
        ({"estimator": "rws", "k": 1}, r"rws needs k >= 2 .*; got k = 1. Use estimator='wake_sleep'"),
        ({"estimator": "vae", "alpha": 0.5}, "vae takes no alpha; it has no settings; leave alpha out"),
        ({"estimator": "ciwae", "alpha": 0.5}, "ciwae takes no alpha; it takes beta; leave alpha out"),
        ({"estimator": "miwae", "k": 5, "repeats": 2}, "repeats must divide k = 5; got 2"),
        ({"estimator": "ciwae", "beta": 1.5}, r"beta \(.*\) must be a number from 0.0 to 1.0; got 1.5"),
        ({"estimator": "renyi", "alpha": float("nan")}, "alpha .* must be a number"),
        ({"estimator": "miwae", "repeats": True}, "repeats .* must be a whole number"),
    ],
)
def test_combinations_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RunSpec(**settings)


def test_settings_reach_the_estimator_and_survive_json() -> None:
    run = RunSpec("renyi", 5, alpha=0.3)
    assert run.settings == {"alpha": 0.3}
    assert ExperimentSpec.from_json(ExperimentSpec((run,)).to_json()).runs == (run,)
    assert run.swapped("miwae", 4) == RunSpec("miwae", 4), "another estimator has settings of its own"


def test_the_backward_pass_survives_json_and_swaps() -> None:
    run = RunSpec("iwae", 5, backward="all")
    assert ExperimentSpec.from_json(ExperimentSpec((run,)).to_json()).runs == (run,)
    assert run.swapped("vae", 4) == RunSpec("vae", 4, backward="all")
    with pytest.raises(SpecError, match="unknown backward pass 'some'; choose from all, counting"):
        RunSpec(backward="some")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(SpecError, match="unknown estimator 'vea'; choose from vae, "):
        RunSpec("vea", 5)
    with pytest.raises(SpecError, match="unknown data set 'cifar'; choose from mnist"):
        ExperimentSpec(dataset="cifar")
    with pytest.raises(SpecError, match="unknown model"):
        RunSpec("vae", 5, "three_layers")
    with pytest.raises(SpecError, match="unknown schedule 'cosine'; choose from constant, burda"):
        ExperimentSpec(schedule="cosine")
    with pytest.raises(SpecError, match="unknown estimator 'vea'; choose from vae, "):
        Swap(run=0, step=1, estimator="vea", k=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": 2}, "there is no run 2 to swap; the runs are numbered from 0 to 1"),
        ({"run": -1}, r"run \(number of the run, from 0\) must be a whole number from 0 to 3; got -1"),
        ({"run": True}, r"run \(.*\) must be a whole number from 0 to 3; got True"),
        ({"step": 3000}, "a swap must come before the last of 3,000 steps; got step 3,000"),
        ({"step": -1}, r"step \(steps before the swap\) must be a whole number from 0 to 20,000,000; got -1"),
        ({"k": 0}, r"k \(samples per image after the swap\) must be a whole number from 1 to 5,000; got 0"),
        ({"k": 501}, "k times batch_size must be at most 500,000; got 501,000"),
    ],
)
def test_impossible_swaps_are_refused(change: dict[str, int], message: str) -> None:
    good: dict[str, Any] = {"run": 1, "step": 2999, "estimator": "vae", "k": 500}
    ExperimentSpec(batch_size=1000, swaps=(Swap(**good),))
    with pytest.raises(SpecError, match=message):
        ExperimentSpec(batch_size=1000, swaps=(Swap(**good | change),))


def test_a_swap_is_written_in_one_word() -> None:
    swap = Swap(run=1, step=200, estimator="iwae", k=50)
    assert str(swap) == "1:200:iwae:50"
    assert Swap.parse("1:200:iwae:50") == swap
    for text in ("", "1:200:iwae", "1:200:iwae:50:3", "-1:200:iwae:50", "1:\u0662:iwae:50", "1:200:iwae:5.0"):
        with pytest.raises(SpecError, match=r"expected RUN:STEP:ESTIMATOR:K, as in 0:1000:iwae:50; got "):
            Swap.parse(text)
    with pytest.raises(SpecError, match="got 'xxxx"):
        Swap.parse("x" * 500)


def test_a_swap_changes_one_run() -> None:
    spec = ExperimentSpec((RunSpec("vae", 2), RunSpec("vae", 3)), steps=9)
    assert spec.swapped(Swap(run=1, step=4, estimator="iwae", k=5)).runs == (RunSpec("vae", 2), RunSpec("iwae", 5))


@pytest.mark.parametrize("count", [0, 5])
def test_number_of_runs(count: int) -> None:
    with pytest.raises(SpecError, match=f"1 to 4 runs; got {count}"):
        ExperimentSpec(runs=(RunSpec(),) * count)


def test_a_step_has_a_largest_size() -> None:
    with pytest.raises(
        SpecError, match="k times batch_size must be at most 500,000; got 5,000,000; reduce one of them"
    ):
        ExperimentSpec(runs=(RunSpec("vae", 1), RunSpec("iwae", 5000)), batch_size=1000)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"runs": 3}', '{"runs": [], "colour": 1}'])
def test_anything_else_is_not_a_specification(text: str) -> None:
    with pytest.raises(SpecError):
        ExperimentSpec.from_json(text)
    with pytest.raises(SpecError, match="not an experiment specification"):
        ExperimentSpec.from_json(json.dumps({"runs": [{"estimator": "vae", "colour": 1}]}))


@pytest.mark.parametrize("k", [1, 5, 50, 500])
def test_evaluation_takes_at_most_a_third_of_the_work(k: int) -> None:
    spec = ExperimentSpec(runs=(RunSpec("vae", k), RunSpec("iwae", k)), steps=100_000)
    snapshots = [0]
    while snapshots[-1] < spec.steps:
        snapshots.append(spec.next_snapshot(snapshots[-1]))
    assert snapshots[-1] == spec.steps
    evaluation = spec.eval_images * spec.eval_k * (len(snapshots) - 2)  # the first and the last are always made
    assert evaluation <= (evaluation + 3 * spec.batch_size * k * spec.steps) / 3
    assert 4 < len(snapshots) < 500


def test_repeats_that_divide_k_are_taken() -> None:
    assert RunSpec("miwae", 6, repeats=2).settings == {"repeats": 2}


def test_a_field_carries_its_default_its_limits_and_its_registry() -> None:
    kinds = [("count", int, number(3, 1, 9, "how many")), ("kind", str, name(SCHEDULES, "burda"))]
    filled = make_dataclass("filled", kinds)
    assert filled() == filled(3, "burda")
    assert limits(filled) == {"count": Limits(1, 9, "how many")}
    assert choices(filled) == {"kind": SCHEDULES}
    open_ = make_dataclass("open_", [("kind", str, name(SCHEDULES)), ("count", int, number(MISSING, 1, 9, "how many"))])
    with pytest.raises(TypeError, match="kind"):
        open_(count=3)


def test_a_name_can_be_taken_once() -> None:
    registry: Registry[Schedule] = Registry("thing", Schedule)
    registry.register("one", label="One")(lambda step, steps: 1.0)
    assert registry["one"].label == "One"
    with pytest.raises(ValueError, match="thing 'one' is registered twice"):
        registry.register("one", label="Uno")
    with pytest.raises(UnknownNameError, match="unknown thing 'two'; choose from one"):
        registry["two"]
