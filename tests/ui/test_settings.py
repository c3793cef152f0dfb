"""Settings of the page: what an address may hold, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.shipped.proof import PROOF, SCRATCH
from iwae_lab.shipped.recording import NAMES, recording
from ui.pages.presets import PRESETS, Preset
from ui.settings import ALL, EXPERIMENT, address, asked_for, parse_runs, runs_text


@pytest.mark.parametrize("name", ALL)
def test_the_default_of_every_setting_survives_the_address(name: str) -> None:
    setting = ALL[name]
    text = "" if setting.default is None else str(setting.default)
    assert setting.parse(text) == setting.default


@pytest.mark.parametrize("text", ["-1", "0", "1e9", "1000000000", "nan", "inf", "x", "[1]", "5.5", "\0", "5" * 60_000])
def test_absurd_k_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 5,000"):
        ALL["k"].parse(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "1e9", "", "x"])
def test_absurd_learning_rates_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number from"):
        ALL["learning_rate"].parse(text)


@pytest.mark.parametrize("text", ["vae", "vae,iwae", "vae,iwae:k=5", "renyi:k=8:alpha=-0.5,miwae:k=8:repeats=4"])
def test_runs_come_back_from_the_address(text: str) -> None:
    assert runs_text(parse_runs(text)) == text
    assert ALL["runs"].parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "nobody", "vae,", "vae,vae,vae,vae,vae", "iwae:k=0", "iwae:k=1e9", "iwae:z=1", "iwae:k", "<script>"]
)
def test_runs_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="up to 4 estimators"):
        ALL["runs"].parse(text)
    with pytest.raises(SpecError):
        parse_runs(text)


MANY = ExperimentSpec(
    runs=(RunSpec("miwae", 8, "two_layer", repeats=4), RunSpec("vae", 5, "two_layer"), RunSpec("iwae", 8, "two_layer")),
    seconds=60.0,
    swaps=(Swap(run=1, step=7, estimator="iwae", k=20), Swap(run=0, step=9, estimator="vae", k=1)),
    schedule="burda",
)


COUNTING = replace(PROOF, runs=tuple(replace(run, backward="counting") for run in PROOF.runs))


@pytest.mark.parametrize("spec", [PROOF, SCRATCH, MANY, COUNTING], ids=["proof", "scratch", "many", "counting"])
def test_an_address_brings_back_an_experiment(spec: ExperimentSpec) -> None:
    texts = address(spec)
    values = {
        name: setting.parse(texts[name]) if name in texts else setting.default for name, setting in EXPERIMENT.items()
    }
    assert asked_for(values) == spec
    assert (texts == {}) == (spec == PROOF)


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    for setting in ALL.values():
        try:
            value = setting.parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 (the value matters in the other case)
        else:
            assert setting.parse("" if value is None else str(value)) == value


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.recorded)
def test_an_example_opens_with_a_recording_of_the_very_experiment_that_train_repeats(preset: Preset) -> None:
    history = recording(preset.recorded)
    defaults = {name: setting.default for name, setting in ALL.items()}
    assert asked_for(defaults | preset.values) == history.spec
    assert len(history.snapshots) > 1, "the scrubber has something to replay"


def test_every_recording_is_an_example() -> None:
    assert {preset.recorded for preset in PRESETS} == set(NAMES)
