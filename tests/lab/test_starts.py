"""Training that starts from a shipped model: the same weights for all runs, Adam from zero, refused where it cannot."""

import json
import subprocess
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iwae_core.bounds.lower import iwae_bound
from iwae_core.evaluation.held_out import log_weights
from iwae_core.training.events import Snapshot
from iwae_core.training.fields import SpecError
from iwae_core.training.loop import Experiment, train
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_core.training.starts import RANDOM, STARTS
from iwae_lab.engines.protocol import Checkpoint
from iwae_lab.engines.runner import run
from iwae_lab.shipped.manifest import names
from iwae_lab.shipped.models import load
from iwae_lab.take_home.report import report
from iwae_lab.words.sentences import describe
from tests.support.resuming import after, folder_for, same_run, train_and_die
from tests.support.told import QUICK, small

STARTED = replace(QUICK, start="vae_k1", steps=12)


def test_every_shipped_model_is_a_start() -> None:
    assert tuple(STARTS) == (RANDOM, *names())


@pytest.mark.parametrize("start", names())
def test_all_runs_have_the_weights_of_the_start_and_a_new_optimiser(start: str) -> None:
    shipped, network = load(start), STARTS[start].model
    runs = tuple(RunSpec(name, 2, model=network or "") for name in ("vae", "iwae"))
    for made in Experiment(ExperimentSpec(runs, start=start, seed=3)).runs:
        assert made.optimiser.state_dict()["state"] == {}
        for name, weights in made.model.state_dict().items():
            assert torch.equal(weights, shipped.state_dict()[name])
    assert all(not parameter.requires_grad for parameter in shipped.parameters())


def test_the_first_evaluation_is_that_of_the_shipped_model_and_training_leaves_it_alone() -> None:
    first, *_, last = (event for event in train(STARTED) if isinstance(event, Snapshot))
    x = Experiment(STARTED).held_out
    weights = log_weights(load("vae_k1"), x, STARTED.eval_k, STARTED.seed)
    expected = iwae_bound(weights).float()
    for curve in first.iwae:
        assert torch.equal(torch.from_numpy(curve[-1].copy()), expected)
    assert not torch.equal(torch.from_numpy(last.iwae[0, -1].copy()), expected)


def test_a_started_run_resumes_to_the_bit(tmp_path: Path) -> None:
    whole, folder = (folder_for(tmp_path / name, STARTED) for name in ("whole", "part"))
    deque(run(whole), maxlen=0)
    train_and_die(folder, after(5, Checkpoint()), 9)
    deque(run(folder), maxlen=0)
    assert same_run(folder, whole)


def test_a_start_of_another_network_is_refused() -> None:
    with pytest.raises(SpecError, match=r"start .vae_k1. are those of a one_layer, and a run is a two_layer"):
        replace(STARTED, runs=(RunSpec("vae", 2), RunSpec("vae", 2, "two_layer")))
    with pytest.raises(SpecError, match=r"unknown start 'mine'; choose from random, vae_k1"):
        replace(STARTED, start="mine")


def test_specifications_without_a_start_begin_at_random() -> None:
    values = json.loads(STARTED.to_json())
    del values["start"]
    assert ExperimentSpec.from_json(json.dumps(values)).start == RANDOM


def test_it_is_told_where_training_started() -> None:
    assert "from the trained VAE with k = 1" in describe(STARTED)
    assert "from the" not in describe(QUICK)
    assert "trained VAE with k = 1" in report(small(STARTED))


def test_naming_a_start_does_not_load_torch() -> None:
    code = (
        "import sys, iwae_lab; from iwae_core.training.starts import STARTS; print(len(STARTS), 'torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(1 + len(names())), "False"]
