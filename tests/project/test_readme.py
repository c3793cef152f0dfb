"""README is true: its commands are run, and the recorded experiment is the one it says."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from iwae_core.evaluation.estimate import estimate
from iwae_core.training.events import Snapshot
from iwae_lab.__main__ import main
from iwae_lab.arguments import requested
from iwae_lab.cli.options import parser
from iwae_lab.history.history import History
from iwae_lab.history.verdict import verdicts
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.proof import PROOF
from iwae_lab.shipped.recording import NAMES, recording
from tools import tables

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]


def arguments(command: str) -> list[list[str]]:
    prefix = f"iwae {command} "
    return [[command, *shlex.split(line.removeprefix(prefix))] for line in COMMANDS if line.startswith(prefix)]


def test_commands_of_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    taking_long = {f"runs/{name}" for name in NAMES}
    first, *others = [command for command in arguments("train") if not taking_long & set(command)]
    assert main(first) == 0
    assert "runs/first" in capsys.readouterr().out
    assert main(arguments("evaluate")[0]) == 0
    assert "100 test images, 5000 samples each" in capsys.readouterr().out
    assert main(arguments("evidence")[0]) == 0
    assert "5 images simulated" in capsys.readouterr().out
    assert main(arguments("signal")[0]) == 0
    assert "30 repetitions" in capsys.readouterr().out
    assert len(others) == 2
    for command in others:
        assert main(command) == 0


def test_the_table_of_estimators_is_up_to_date() -> None:
    for name, table in tables.tables().items():
        assert tables.marked(name, table) in README, "run python -m tools.tables"


def example(about: str) -> str:
    """The one block of Python that is about this."""
    (found,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if about in block]
    return str(found)


def test_the_quick_start_trains_and_evaluates(capsys: pytest.CaptureFixture[str]) -> None:
    quick_start = example("train(spec)")
    assert len([line for line in quick_start.splitlines() if line]) <= 10
    assert set(re.findall(r"from (\S+) import", quick_start)) == {"iwae_core"}
    exec(compile(quick_start, "README.md", "exec"), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {(line[1], line[2]) for line in lines} == {("VAE", "L_100"), ("IWAE", "L_100")}
    for label in "VAE", "IWAE":
        steps = {int(line[0]): float(line[3]) for line in lines if line[1] == label}
        assert steps[60] > steps[0] + 30, "it has learned"


def test_the_black_box_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example("y = torch.tensor"), "README.md", "exec"), {})
    elbo, evidence = map(float, re.findall(r"-\d+\.\d+", capsys.readouterr().out))
    said = map(float, re.search(r"prints `ELBO (\S+), log p\(y\) about (\S+)`", README).groups())  # type: ignore[union-attr]
    assert [elbo, evidence] == pytest.approx(list(said), abs=0.1)
    assert evidence == pytest.approx(-31.312, abs=0.05), "four million draws from the prior, schools integrated out"


@pytest.fixture(scope="module", params=NAMES)
def recorded(request: pytest.FixtureRequest) -> tuple[str, History]:
    return request.param, recording(request.param)


def test_the_recorded_experiments_are_those_their_commands_make(recorded: tuple[str, History]) -> None:
    name, history = recorded
    copied = f"xz -9 --stdout runs/{name}/events.jsonl > iwae_lab/assets/recorded/{name}.jsonl.xz"
    assert (f"python -m tools.record {name} runs/{name}" if name == "long" else copied) in README
    (command,) = [found for found in arguments("train") if f"runs/{name}" in found]
    assert history.spec == requested(parser().parse_args(command))
    assert history.outcome
    assert history.step == history.spec.steps


def lead(snapshot: Snapshot, run: int, of: int = 0) -> tuple[float, float]:
    """How far one run is ahead of another at the largest k, and two standard errors of that."""
    fit = estimate(snapshot.iwae[run, -1] - snapshot.iwae[of, -1])
    return fit.mean, 2 * fit.stderr


@pytest.mark.parametrize("name", ["proof", "long", "swap", "plane"])
def test_recordings_of_an_iwae_show_its_lead_and_its_price(name: str) -> None:
    last = recording(name).snapshots[-1]
    ahead, error = lead(last, 1)
    own = estimate(last.elbo[1] - last.elbo[0])
    assert ahead > 1.5 * error, "IWAE leads at the largest k"
    assert own.mean < -3 * own.stderr, "and its own ELBO is worse"
    assert estimate(last.iwae[:, 0] - last.elbo).mean == pytest.approx(0, abs=1e-4), "equal at k = 1"


def test_from_scratch_the_iwae_is_behind_first_and_ahead_in_the_end() -> None:
    leads = {at.step: lead(at, 1)[0] for at in recording("long").snapshots}
    own = {at.step: estimate(at.elbo[1] - at.elbo[0]).mean for at in recording("long").snapshots}
    assert all(ahead > 0 if step > 10_000 else ahead <= 0 for step, ahead in leads.items())
    assert all(ahead < 0 for step, ahead in own.items() if step), "never at the left end"
    nll = [manifest()[name]["nll"] for name in ("vae_k50", "iwae_k50")]
    assert f"in the end the IWAE leads by {nll[0] - nll[1]:.2f} nats on the 10,000\ntest images" in README


def test_other_recordings_show_what_their_remarks_say() -> None:
    same, swap, plane = (recording(name).snapshots for name in ("same", "swap", "plane"))
    assert (same[-1].iwae[1] == same[-1].iwae[0]).all(), "one formula at k = 1"
    assert all((at.iwae[1] == at.iwae[0]).all() for at in swap if at.step <= 200), "one model before the swap"
    widths = plane[-1].plane_q[:, :, 1].mean((1, 2))
    assert widths[1] > 3 * widths[0], "the IWAE's q is wide"
    costs = np.nanmedian(recording("one_sample").training.costs, 0)
    assert costs[1] < 0.75 * costs[0], "less work"
    dreg, binary, linear = (recording(name).snapshots[-1] for name in ("dreg", "binary", "linear"))
    assert (dreg.elbo[1:].mean(1) > dreg.elbo[0].mean() + 0.2).all(), "more in the dashed lines"
    assert min(lead(dreg, 1)[0], lead(dreg, 2)[0]) > 0
    behind, error = lead(binary, 2)
    assert behind < -2 * error, "baselines decide"
    gaps = (linear.log_p[:, None] - linear.iwae).mean(-1)
    assert (gaps > 0).all()
    assert (np.diff(gaps) < 0).all(), "exact, and falling"


def test_the_proof_is_the_page_s_default_and_certain_from_the_first_comparison() -> None:
    history = recording("proof")
    assert history.spec == PROOF
    (verdict,) = verdicts(history)
    assert verdict.since
    assert verdict.since.step == PROOF.next_snapshot(0)
    assert verdict.elbo.mean < 0 < verdict.lead.mean


@pytest.mark.skipif(not (ROOT / ".venv" / "program").exists(), reason="`make demo` would set up everything first")
def test_make_demo_serves_the_page() -> None:
    assert "make demo" in README
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"STREAMLIT_SERVER_PORT": str(port)}
    with subprocess.Popen(["make", "demo"], cwd=ROOT, env=environment, start_new_session=True) as server:
        try:
            deadline = time.monotonic() + 60
            while not _healthy(port):
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
