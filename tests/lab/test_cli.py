"""The command line: its output, its exit codes, and one line for every bad argument."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iwae_lab.__main__ import main

QUICK = ["--steps", "3", "--batch-size", "4", "--eval-images", "3", "--eval-k", "10"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "--estimator", "vae,iwae", "--k", "5", "--seed", "0", "--out", str(folder), *QUICK]) == 0
    return folder


def test_train_and_evaluate_as_a_user_would(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "iwae_lab", *arguments]
        return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)

    trained = call("train", "--estimator", "iwae", "--k", "2", "--out", str(tmp_path / "run"), "--json", *QUICK)
    assert trained.returncode == 0
    assert trained.stderr == ""
    assert json.loads(trained.stdout)["steps"] == 3
    evaluated = call("evaluate", str(tmp_path / "run"), "--k", "20", "--limit", "4", "--json")
    assert evaluated.returncode == 0
    assert evaluated.stderr == ""
    assert json.loads(evaluated.stdout)["images"] == 4


def test_evaluate_prints_the_promised_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained), "--k", "100", "--limit", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() == {"runs", "images", "samples", "step", "dataset", "binarisation"}
    assert (result["dataset"], result["binarisation"]) == ("mnist", "dynamic")
    assert (result["images"], result["samples"], result["step"]) == (5, 100, 3)
    assert [(run["estimator"], run["k"]) for run in result["runs"]] == [("vae", 5), ("iwae", 5)]
    for run in result["runs"]:
        assert run.keys() == {
            *("estimator", "k", "model", "swaps", "nll", "nll_stderr", "elbo", "curve"),
            *("active_units", "lead", "lead_stderr"),
        }
        assert run["swaps"] == []
        curve = run["curve"]
        assert curve.keys() == {"k", "iwae", "iwae_stderr", "elbo", "elbo_stderr"}
        assert curve["k"] == [1, 2, 5, 10, 20, 50, 100]
        assert {len(values) for values in curve.values()} == {7}
        assert run["nll"] == -curve["iwae"][-1]
        assert run["nll_stderr"] == curve["iwae_stderr"][-1]
        assert curve["iwae"] == sorted(curve["iwae"])
        assert curve["elbo"] == pytest.approx([curve["iwae"][0]] * 7)
        assert 50 < run["nll"] < 600
        assert run["elbo"] == curve["elbo"][0] < -run["nll"] - 1, "the ELBO, not L_100"


def test_differences_between_runs_are_paired(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The same images and noise: the error of the difference is far smaller than that of either.
    assert main(["evaluate", str(trained), "--k", "10", "--limit", "8", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert (first["lead"], first["lead_stderr"]) == (0, 0)
    assert second["lead"] == pytest.approx(first["nll"] - second["nll"], abs=1e-4)
    assert 0 < second["lead_stderr"] < 0.5 * first["nll_stderr"]


def test_models_and_settings_of_estimators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    estimators, folder = ["--estimator", "miwae,vimco", "--model", "two_layer_2d,sbn_2"], str(tmp_path / "x")
    assert main(["train", *estimators, "--k", "4", "--repeats", "2", "--out", folder, "--json", *QUICK]) == 0
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert (first["model"], first["repeats"]) == ("two_layer_2d", 2)
    assert second["model"] == "sbn_2"
    assert "repeats" not in second
    assert main(["evaluate", folder, "--k", "2", "--limit", "2", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [len(run["active_units"]) for run in runs] == [2, 2]
    assert 0 <= runs[0]["active_units"][1] <= 2
    assert main(["evidence", folder, "--images", "1", "--chains", "1", "--temperatures", "2"]) == 2
    assert "sbn_2 cannot be annealed: annealing moves h by gradients" in capsys.readouterr().err


def test_evidence_lies_between_its_bounds(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--images", "2", "--temperatures", "30", "--chains", "2"]
    assert main(["evidence", str(trained), *sizes, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["temperatures"], result["chains"]) == (2, 30, 2)
    for run in result["runs"]:
        assert run["L_5000"] < run["upper"]
        assert run["lower"] < run["upper"] + 1
        assert -600 < run["lower"] < -50
    assert main(["evidence", str(trained), *sizes]) == 0
    assert "2 images simulated from each model" in capsys.readouterr().out


def test_signal_to_noise_against_k(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--estimator", "vae,vimco", "--k", "2,4", "--images", "2", "--repeats", "5"]
    assert main(["signal", str(trained), *sizes, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["repeats"]) == (2, 5)
    for run in result["runs"]:
        assert [(row["estimator"], row["k"]) for row in run["signal"]] == [
            *(("vae", 2), ("vae", 4), ("vimco", 2), ("vimco", 4)),
        ]
        assert all(0 < row["theta"] < 100 and 0 < row["phi"] < 100 for row in run["signal"])
    assert main(["signal", str(trained), *sizes]) == 0
    assert "5 repetitions" in capsys.readouterr().out


def test_data_and_their_binarisation_are_chosen_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sizes = str(tmp_path / "x"), ["--k", "10", "--limit", "3"]
    static = ["--dataset", "mnist", "--binarisation", "static"]
    assert main(["train", "--estimator", "iwae", "--k", "2", "--out", folder, *static, *QUICK]) == 0
    capsys.readouterr()
    assert main(["evaluate", folder, *sizes, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["binarisation"] == "static"
    assert main(["evaluate", folder, *sizes]) == 0
    assert "MNIST, static binarisation" in capsys.readouterr().out
    report, table = tmp_path / "report.html", tmp_path / "numbers.csv"
    assert main(["report", folder, "--out", str(report), "--csv", str(table)]) == 0
    assert "static: each image drawn once" in report.read_text()
    assert table.read_text().splitlines()[1].endswith(",mnist,static")


def test_evaluate_prints_a_table_for_people(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained), "--k", "10", "--limit", "3"]) == 0
    about, head, columns, *rows = capsys.readouterr().out.strip().splitlines()
    assert about == "MNIST, dynamic binarisation"
    assert head.startswith("3 test images, 10 samples each, ")
    assert head.endswith("; nats per image, +- two standard errors")
    assert columns.split()[:4] == ["estimator", "k", "test", "NLL"]
    assert main(["evaluate", str(trained), "--k", "10", "--limit", "3", "--json"]) == 0
    for index, (line, run) in enumerate(zip(rows, json.loads(capsys.readouterr().out)["runs"], strict=True)):
        assert f" {run['estimator']} " in line
        assert f" {run['nll']:.2f} +- {2 * run['nll_stderr']:.2f} " in line
        assert line.endswith(f" {run['lead']:+.2f} +- {2 * run['lead_stderr']:.2f}") == (index > 0)


def test_one_k_for_each_estimator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--estimator", "vae,iwae", "--k", "1,3", "--out", str(tmp_path / "x"), "--json", *QUICK]) == 0
    assert [run["k"] for run in json.loads(capsys.readouterr().out)["runs"]] == [1, 3]


def test_a_swap_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "x")
    swaps = ["--swap", "0:2:iwae:3", "--swap", "0:1:vae:2"]
    assert main(["train", "--estimator", "vae,vae", "--k", "1", "--out", folder, "--json", *swaps, *QUICK]) == 0
    steps = [{"step": 1, "estimator": "vae", "k": 2}, {"step": 2, "estimator": "iwae", "k": 3}]
    assert [run["swaps"] for run in json.loads(capsys.readouterr().out)["runs"]] == [steps, []]
    assert main(["evaluate", folder, "--k", "10", "--limit", "3", "--json"]) == 0
    assert [run["swaps"] for run in json.loads(capsys.readouterr().out)["runs"]] == [steps, []]
    assert main(["evaluate", folder, "--k", "10", "--limit", "3"]) == 0
    output = capsys.readouterr().out
    assert "after 3 training steps" in output
    assert re.search(r"vae>vae>iwae +1>2>3 ", output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --out {new} --k 0", "from 1 to 5,000; got 0"),
        ("train --out {new} --k 1,2,3", "give one value, or one for each of the 2 estimators; got 3"),
        ("train --out {new} --k five", "expected whole numbers separated by commas; got 'five'"),
        ("train --out {new} --estimator vea", "unknown estimator 'vea'; choose from vae, "),
        ("train --out {new} --steps 0", "must be a whole number from 1 to 20,000,000; got '0'"),
        ("train --out {new} --steps ten", "argument --steps: must be a whole number from 1 to 20,000,000; got 'ten'"),
        ("train --out {new} --learning-rate nan", "must be a number from 1e-06 to 0.1; got 'nan'"),
        ("train --out {new} --estimator iwae --model sbn_1", "does not offer. Use estimator='vimco'"),
        ("train --out {new} --estimator vimco --k 1", "vimco needs k >= 2"),
        ("train --out {new} --alpha 0.3", "argument --alpha: none of these estimators takes it; renyi would"),
        ("train --out {new} --estimator miwae --k 5 --repeats 3", "repeats must divide k = 5; got 3"),
        ("train --out {new} --estimator renyi --alpha 99", "must be a number from -20.0 to 20.0; got '99'"),
        ("train --out {new} --model a,b,c", "give one value, or one for each of the 2 estimators; got 3"),
        ("train --out {new} --model foo", "unknown model 'foo'; choose from one_layer, two_layer"),
        ("evidence {new}", "holds no trained models"),
        ("signal {new}", "holds no trained models"),
        ("signal {old} --estimator vimco --k 1", "vimco needs k >= 2"),
        ("signal {old} --estimator vea", "unknown estimator 'vea'"),
        ("signal {old} --k 0", "must be a whole number from 1 to 5,000; got 0"),
        ("signal {old} --k five", "argument --k: expected whole numbers separated by commas; got 'five'"),
        ("train --out {new} --dataset cifar", "unknown data set 'cifar'; choose from mnist, omniglot"),
        ("train --out {new} --binarisation grey", "unknown binarisation 'grey'; choose from dynamic, static"),
        ("train --out {new} --schedule cosine", "unknown schedule 'cosine'; choose from constant, burda"),
        ("train --out {new} --swap 1:2:iwae", "expected RUN:STEP:ESTIMATOR:K, as in 0:1000:iwae:50; got '1:2:iwae'"),
        ("train --out {new} --swap 1:two:iwae:5", "expected RUN:STEP:ESTIMATOR:K"),
        ("train --out {new} --swap 2:5:iwae:5", "there is no run 2 to swap; the runs are numbered from 0 to 1"),
        ("train --out {new} --swap 0:5:vea:5", "unknown estimator 'vea'; choose from vae, "),
        ("train --out {new} --resume {new}", "not allowed with argument --out"),
        ("train --resume {new}", "holds no run; give a folder written by train"),
        ("train --k 5", "one of the arguments --out --resume is required"),
        ("train --out {old}", "already holds a run; give a new folder"),
        ("evaluate {old} --k 0", "argument --k: must be a whole number from 1 to 10,000; got '0'"),
        ("evaluate {old} --limit 1", "argument --limit: must be a whole number from 2 to 10,000; got '1'"),
        ("evaluate {new}", "holds no trained models"),
        ("paint", "choose from"),
        ("", "the following arguments are required"),
    ],
)
def test_bad_arguments_cost_one_line_and_exit_code_2(
    arguments: str, message: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.format(new=tmp_path / "new", old=trained).split()) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("iwae: ")
    assert output.err.count("\n") == 1
    assert message in output.err


@pytest.mark.parametrize("damage", ["flip", "cut", "foreign"])
def test_a_damaged_checkpoint_is_refused(
    damage: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((trained / "checkpoint.pt").read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"flip": bytes(content), "cut": bytes(content[:-100]), "foreign": b"not a checkpoint"}[damage]
    (tmp_path / "checkpoint.pt").write_bytes(changed)
    assert main(["evaluate", str(tmp_path), "--k", "10", "--limit", "3"]) == 1
    assert "truncated or altered" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["train", "--out", str(tmp_path / "file" / "run"), *QUICK]) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_damaged_data_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    assert main(["train", "--out", str(tmp_path / "run"), *QUICK]) == 1
    assert "put the four MNIST files there" in capsys.readouterr().err
