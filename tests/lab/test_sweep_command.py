"""`iwae sweep`: every combination of estimators, k, seeds and models, on any engine, in any number of sittings."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iwae_core.training.spec import ExperimentSpec
from iwae_lab.__main__ import main
from iwae_lab.engines import Engine, State, open_engine
from iwae_lab.engines.cluster.backend import Cluster
from iwae_lab.engines.folders import SWEEP
from iwae_lab.engines.settings import SCHEDULER
from iwae_lab.sweeping import sweep as sweeping
from iwae_lab.sweeping.members import Row, members
from iwae_lab.sweeping.sweep import Sweep
from tests.support.cluster import Machines
from tests.support.running import LIMITS, linux

BASE = ExperimentSpec(batch_size=4, steps=20, eval_images=2, eval_k=2)
SMALL = ["--batch-size", "4", "--steps", "3", "--eval-images", "2", "--eval-k", "2", "--json"]


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_lab.cli.sweep.chosen_backend", lambda: "inline")
    monkeypatch.setattr(sweeping, "LOOK", 0.0)


def swept(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["sweep", *words]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


@pytest.mark.usefixtures("inline")
def test_a_sweep_trains_every_combination_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--estimator", "vae,vimco", "--k", "1,2", "--seed", "0,1", "--out", str(tmp_path / "options"), *SMALL]
    rows = swept(capsys, *words)
    made = [(row["estimator"], row["k"], row["seed"]) for row in rows]
    assert made == [
        (name, k, seed) for seed in (0, 1) for k in (1, 2) for name in ("vae", "vimco") if (name, k) != ("vimco", 1)
    ], "vimco needs two samples"
    assert all(row["state"] == "completed" and row["step"] == 3 and row["l_k"] < 0 for row in rows)
    assert json.loads((tmp_path / "options" / "results.json").read_text()) == rows
    with (tmp_path / "options" / "results.csv").open() as file:
        assert [row["l_k"] for row in csv.DictReader(file)] == [str(row["l_k"]) for row in rows]
    figure = (tmp_path / "options" / "figure.html").read_text()
    assert "VIMCO at k = 2 (mean of 2 seeds): " in figure
    assert "Content-Security-Policy" in figure
    runs = sorted((tmp_path / "options" / "runs").glob("[!.]*"))
    (first,) = [run for run in runs if (run / SWEEP).exists()]
    assert sorted((first / SWEEP).read_text().split()) == [run.name for run in runs], "for the page"
    assert swept(capsys, *words) == rows
    assert sorted((tmp_path / "options" / "runs").glob("[!.]*")) == runs, "nothing is left to be done"
    plan = {"estimator": ["vae", "vimco"], "k": [1, 2], "seed": [0, 1], "batch_size": 4, "steps": 3}
    (tmp_path / "plan").write_text(json.dumps(plan | {"eval_images": 2, "eval-k": 2}))
    assert swept(capsys, "--plan", str(tmp_path / "plan"), "--out", str(tmp_path / "planned"), "--json") == rows


@pytest.mark.usefixtures("inline")
def test_a_cancelled_sweep_goes_on_in_another_sitting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = swept(capsys, "--out", str(tmp_path / "whole"), *SMALL)
    looks = 0

    def interrupt(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("iwae_lab.sweeping.sweep.time.sleep", interrupt)
        assert main(["sweep", "--out", str(tmp_path / "cut"), *SMALL]) == 130
    cut = json.loads((tmp_path / "cut" / "results.json").read_text())
    assert 0 < [row["state"] for row in cut].count("completed") < len(whole)
    assert "stopped" in [row["state"] for row in cut]
    capsys.readouterr()
    assert swept(capsys, "--out", str(tmp_path / "cut"), *SMALL) == whole


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--estimator", "vea"], "unknown estimator 'vea'"),
        (["--estimator", "vimco", "--k", "1"], "argument --k: none of these estimators can train with these k"),
        (["--k", "many"], "argument --k: expected whole numbers separated by commas; got 'many'"),
        (["--plan", "/dev/null"], "argument --plan: /dev/null is no JSON object"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_what_a_sweep_refuses(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def finished(engine: Engine, specs: list[ExperimentSpec]) -> list[Row]:
    running = Sweep(engine, specs)
    for _ in running.run():
        pass
    rows = running.rows()
    engine.close()
    return rows


@linux
def test_a_sweep_on_two_machines_one_of_which_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    specs = members(BASE, ["vae", "iwae"], [1, 2], [0, 1, 2], ["one_layer", "two_layer"])
    assert len(specs) == 24
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "LOOK", 0.0)
        undisturbed = finished(open_engine("inline", tmp_path / "undisturbed", LIMITS), specs)
    machines = Machines(4)
    request.addfinalizer(machines.close)
    monkeypatch.setenv(SCHEDULER, machines.address)
    engine = open_engine("cluster", tmp_path / "disturbed", replace(LIMITS, slots=4, hang=4.0))
    assert isinstance(engine.backend, Cluster)
    remotes, lost = engine.backend._remotes, machines.workers[:2]
    addresses = {machine.address for machine in lost}
    running, cut = Sweep(engine, specs), False
    for done in running.run():
        if not cut and done >= 6 and addresses & {remote.worker for remote in list(remotes.values())}:
            cut = True
            for machine in lost:
                machine.cut_off()
    assert cut
    assert running.rows() == undisturbed
    assert {row.state for row in undisturbed} == {State.COMPLETED}
    engine.close()
