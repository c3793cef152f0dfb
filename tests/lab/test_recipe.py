"""How an experiment is repeated: commands and code."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iwae_core.data import BINARISATIONS, DATASETS
from iwae_core.training.events import Snapshot, Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_core.training.starts import STARTS
from iwae_lab.__main__ import main
from iwae_lab.arguments import command, requested
from iwae_lab.cli.options import parser
from iwae_lab.engines import open_engine
from iwae_lab.engines.protocol import SwapNow
from iwae_lab.history.history import History
from iwae_lab.records.folder import LOG
from iwae_lab.records.log import read_log
from iwae_lab.take_home.recipe import performed, snippet
from iwae_lab.words.sentences import describe
from tests.support.told import NO_OPTIONS, QUICK, SWAPPING, small, told

ROOT = Path(__file__).parents[2]


def test_swaps_on_command_are_part_of_what_is_repeated() -> None:
    planned = Swap(run=1, step=3, estimator="vae", k=2)
    spec = performed(small(replace(QUICK, swaps=(planned,))))
    assert spec.swaps == (Swap(run=0, step=2, estimator="dreg", k=3), planned)
    made = told(spec, Swapped(2, 0, "dreg", 3), Swapped(3, 1, "vae", 2))
    assert performed(made) == spec


def test_commands_and_code_name_only_what_is_not_a_default() -> None:
    assert command(ExperimentSpec()) == "iwae train --estimator vae,iwae --k 50 --out runs/again"
    assert command(SWAPPING) == (
        "iwae train --estimator ciwae,miwae --k 4 --model one_layer,one_layer_2d --beta 0.25 --repeats 2"
        " --batch-size 3 --learning-rate 0.01 --steps 4 --seed 7 --eval-images 3 --eval-k 5 --schedule burda"
        " --swap 1:3:dreg:5 --swap 0:1:iwae:3 --out runs/again"
    )
    both = ExperimentSpec((RunSpec("iwae"), RunSpec("iwae", backward="all")))
    assert command(both) == "iwae train --estimator iwae,iwae --k 50 --backward counting,all --out runs/again"
    assert '        RunSpec("iwae", 50),\n        RunSpec("iwae", 50, backward="all"),\n' in snippet(both)
    refused = replace(QUICK, runs=(RunSpec("miwae", 4, repeats=4), RunSpec("piwae", 3)))  # 3 samples in 4 repeats
    for spec in NO_OPTIONS, refused:
        assert command(spec).startswith("iwae train --spec /dev/stdin --out runs/again <<'END'\n{")
    assert (
        'spec = ExperimentSpec(\n    runs=(\n        RunSpec("vae", 50),\n        RunSpec("iwae", 50),\n    ),\n)\n'
    ) in snippet(ExperimentSpec())
    assert '        RunSpec("miwae", 4, model="one_layer_2d", repeats=2),\n' in snippet(SWAPPING)
    assert '    schedule="burda",\n' in snippet(SWAPPING)


def test_data_are_named_by_command_code_and_phrase() -> None:
    spec = replace(QUICK, dataset="omniglot", binarisation="static")
    assert "--dataset omniglot --binarisation static --out" in command(spec)
    assert '    dataset="omniglot",\n' in snippet(spec)
    assert "4 steps of 3 images of OMNIGLOT, static binarisation, back through the rows that count, " in describe(spec)
    spec = replace(spec, runs=(RunSpec("vae", backward="all"),))
    assert "4 steps of 3 images of OMNIGLOT, static binarisation, learning rate" in describe(spec)


def made_by_the_engine(spec: ExperimentSpec, folder: Path, swap: Swap | None = None) -> History:
    engine = open_engine("inline", folder)
    experiment = engine.submit(spec)
    while (history := engine.history(experiment)).outcome is None:
        if swap and history.step == swap.step:
            engine.send(experiment, SwapNow(swap.run, swap.estimator, swap.k))
            swap = None  # it is obeyed a look later
    return history


def same_to_the_bit(last: Snapshot, history: History) -> None:
    expected = history.snapshots[-1]
    assert last.step == expected.step
    for name in "iwae", "elbo", "samples", "reconstructions":
        np.testing.assert_array_equal(getattr(last, name), getattr(expected, name))


def shell(line: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-c", line], cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, check=True)


STARTED = replace(QUICK, start="vae_k1")


@pytest.mark.parametrize(
    "spec", [QUICK, SWAPPING, NO_OPTIONS, STARTED], ids=["quick", "swapping", "no options", "started"]
)
def test_command_and_code_repeat_the_experiment_to_the_bit(
    spec: ExperimentSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = made_by_the_engine(spec, tmp_path / "engine")
    repeats(history, tmp_path, monkeypatch, capsys)


def test_a_swap_on_command_is_repeated_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    history = made_by_the_engine(QUICK, tmp_path / "engine", Swap(run=0, step=2, estimator="iwae", k=4))
    assert [swap.step for swap in history.swaps] == [2]
    repeats(history, tmp_path, monkeypatch, capsys)


def repeats(
    history: History, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = performed(history)
    names: dict[str, Any] = {}
    exec(compile(snippet(spec), "snippet", "exec"), names)
    same_to_the_bit(names["last"], history)
    iwae = history.snapshots[-1].iwae.mean(-1, dtype=float)
    lines = capsys.readouterr().out.splitlines()
    for run, line, mean in zip(spec.runs, lines, iwae[:, -1], strict=True):
        assert line.startswith(f"{run.label}: L_5 {mean:.2f} ± ")

    monkeypatch.chdir(folder)
    if "\n" in command(spec):
        shell(command(spec), folder)
    else:
        assert main(shlex.split(command(spec))[1:]) == 0
    again = History(read_log(folder / "runs" / "again" / LOG))
    same_to_the_bit(again.snapshots[-1], history)
    for name in "steps", "elbo", "iwae":
        np.testing.assert_array_equal(getattr(again.training, name), getattr(history.training, name))


a_k = st.integers(1, 99)
any_run = st.one_of(
    st.tuples(st.sampled_from(["vae", "iwae", "dreg"]), a_k, st.just({"model": "two_layer"})),
    st.tuples(st.sampled_from(["vae", "iwae"]), a_k, st.just({"backward": "all"})),
    st.tuples(st.just("renyi"), a_k, st.fixed_dictionaries({"alpha": st.floats(-20, 20, allow_subnormal=False)})),
    st.tuples(st.sampled_from(["miwae", "piwae"]), st.just(6), st.sampled_from([{}, {"repeats": 2}, {"repeats": 3}])),
)
any_numbers = st.fixed_dictionaries(
    {"steps": st.integers(5, 20_000_000)},
    optional={
        "learning_rate": st.floats(1e-6, 0.1),
        "seed": st.integers(0, 2**31 - 1),
        "dataset": st.sampled_from(list(DATASETS)),
        "binarisation": st.sampled_from(list(BINARISATIONS)),
    },
)


@settings(max_examples=50)
@given(
    st.lists(any_run, min_size=1, max_size=4),
    any_numbers,
    st.sampled_from(["constant", "burda"]),
    st.booleans(),
    st.sampled_from(list(STARTS)),
)
def test_every_specification_comes_back(
    runs: list[tuple[str, int, dict[str, Any]]], numbers: dict[str, Any], schedule: str, swapped: bool, start: str
) -> None:
    swaps = (Swap(run=0, step=4, estimator="vae", k=1),) if swapped else ()
    network = STARTS[start].model
    taken = tuple(RunSpec(name, k, **(more | ({"model": network} if network else {}))) for name, k, more in runs)
    spec = ExperimentSpec(taken, schedule=schedule, swaps=swaps, start=start, **numbers)
    assert ExperimentSpec.from_json(spec.to_json(indent=2)) == spec
    names: dict[str, Any] = {}
    exec(snippet(spec).partition("prepare_process()")[0], names)
    assert names["spec"] == spec
    line, _, document = command(spec).partition(" <<'END'\n")
    options = parser().parse_args(shlex.split(line)[1:])
    described = ExperimentSpec.from_json(document.removesuffix("END")) if document else requested(options)
    assert described == spec


def test_train_takes_a_specification_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wanted.json"
    file.write_text(QUICK.to_json(indent=2))
    assert main(["train", "--spec", str(file), "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 4
    assert ExperimentSpec.from_json((tmp_path / "run" / "spec.json").read_text()) == QUICK

    def refused(*arguments: str) -> str:
        assert main(["train", *arguments, "--out", str(tmp_path / "other")]) in (1, 2)
        assert not (tmp_path / "other").exists()
        error = capsys.readouterr().err
        assert error.startswith("iwae: ")
        assert error.count("\n") == 1
        return error

    assert "give no other settings" in refused("--spec", str(file), "--steps", "9")
    assert "No such file" in refused("--spec", str(tmp_path / "missing.json"))
    file.write_bytes(b"\xff\xfe\x00")
    assert "not an experiment specification" in refused("--spec", str(file))
    file.write_text('{"runs": [{"estimator": "vea"}]}')
    assert "unknown estimator 'vea'" in refused("--spec", str(file))
