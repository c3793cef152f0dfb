"""The contract of every engine, and what only the local one must do: leave no process behind."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from iwae_core import checkpoint
from iwae_core.__main__ import main
from iwae_core.engines import ENGINES, Engine, EngineFullError, State, UnknownRunError
from iwae_core.engines.local import LocalEngine
from iwae_core.engines.runner import CHECKPOINT, LOG, SPEC, rewind, run
from iwae_core.events import Failed, Finished, Swapped, encode
from iwae_core.log import LogError, read_log
from iwae_core.spec import ExperimentSpec, RunSpec, SpecError, Swap
from iwae_core.train import load_models

SHORT = ExperimentSpec(runs=(RunSpec("vae", 2), RunSpec("iwae", 2)), batch_size=4, steps=5, eval_images=2, eval_k=2)
MIDDLE = replace(SHORT, steps=100, eval_k=500)  # enough steps to act before the end, few evaluations
LONG = ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1_000_000, eval_images=2, eval_k=1)


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    engine = ENGINES[request.param].item(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalEngine]:
    engine = LocalEngine(tmp_path, max_active=2)
    yield engine
    engine.close()


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_a_run_from_start_to_end(engine: Engine) -> None:
    run_id = engine.submit(SHORT)
    wait_until(lambda: not engine.state(run_id).active)
    history = engine.history(run_id)
    assert engine.state(run_id) is State.COMPLETED
    assert history.spec == engine.spec(run_id) == SHORT
    assert history.progress[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert history.outcome == Finished(5)
    spec, models = load_models(checkpoint.load(engine.folder / run_id / CHECKPOINT))
    assert spec == SHORT
    assert len(models) == 2


def test_every_engine_tells_the_same_story(tmp_path: Path) -> None:
    curves = []
    for name in ENGINES:
        engine = ENGINES[name].item(tmp_path / name)
        run_id = engine.submit(SHORT)
        wait_until(lambda engine=engine, run_id=run_id: not engine.state(run_id).active)
        curves.append(engine.history(run_id).progress[:, [0, 2, 3, 4, 5]].tolist())
        engine.close()
    assert all(curve == curves[0] for curve in curves)


def test_pause_resume_and_stop(engine: Engine) -> None:
    run_id = engine.submit(LONG)
    wait_until(lambda: engine.history(run_id).step >= 3)
    engine.send(run_id, "pause")
    assert engine.state(run_id) is State.PAUSED
    time.sleep(0.3)
    held = engine.history(run_id).step
    time.sleep(1)
    assert engine.history(run_id).step == held
    seconds = engine.history(run_id).seconds
    engine.send(run_id, "resume")
    assert engine.state(run_id) is State.RUNNING
    wait_until(lambda: engine.history(run_id).step > held)
    assert engine.history(run_id).seconds < seconds + 0.9, "a pause must not count as training time"
    engine.send(run_id, "stop")
    wait_until(lambda: not engine.state(run_id).active)
    assert engine.state(run_id) is State.STOPPED
    assert engine.history(run_id).outcome == Finished(engine.history(run_id).step, stopped=True)
    assert load_models(checkpoint.load(engine.folder / run_id / CHECKPOINT))[0] == LONG
    engine.send(run_id, "stop")  # twice is once


def test_stop_works_during_a_pause(engine: Engine) -> None:
    run_id = engine.submit(LONG)
    wait_until(lambda: engine.history(run_id).step >= 1)
    engine.send(run_id, "pause")
    engine.send(run_id, "stop")
    wait_until(lambda: engine.state(run_id) is State.STOPPED)


def test_single_steps(engine: Engine) -> None:
    run_id = engine.submit(LONG)
    for steps in 1, 2, 3:
        engine.send(run_id, "step")  # the first while it runs
        assert engine.state(run_id) is State.PAUSED
        wait_until(lambda steps=steps: engine.history(run_id).step == steps)  # type: ignore[misc]
        time.sleep(0.3)
        assert [engine.history(run_id).step for _ in range(5)] == [steps] * 5
    engine.send(run_id, "stop")
    wait_until(lambda: engine.state(run_id) is State.STOPPED)


def test_a_swap_in_a_pause(engine: Engine) -> None:
    run_id = engine.submit(LONG)
    wait_until(lambda: engine.history(run_id).step >= 1)
    engine.send(run_id, "pause")
    for arguments, message in REFUSED_SWAPS:
        with pytest.raises(SpecError, match=message):
            engine.swap(run_id, *arguments)
    engine.swap(run_id, 0, "vae", 3)
    wait_until(lambda: len(engine.history(run_id).swaps) == 1)
    assert engine.state(run_id) is State.PAUSED
    step = engine.history(run_id).step
    assert engine.history(run_id).swaps == [Swapped(step, 0, "vae", 3)]
    engine.send(run_id, "resume")
    wait_until(lambda: engine.history(run_id).step > step)
    # Its k differs now: L_1 is the ELBO at one sample, and above it at three.
    elbo, iwae = engine.history(run_id).progress[:, 2:].T
    assert (elbo[:step] == iwae[:step]).all()
    assert (elbo[step:] < iwae[step:]).all()
    engine.send(run_id, "stop")
    wait_until(lambda: engine.state(run_id) is State.STOPPED)
    engine.swap(run_id, 0, "iwae", 3)  # a run that has ended is left alone
    assert len(engine.history(run_id).swaps) == 1


REFUSED_SWAPS = [
    ((1, "vae", 3), "there is no run 1 to swap"),
    ((0, "vea", 3), "unknown estimator 'vea'"),
    ((0, "iwae", 0), "must be a whole number from 1 to 5,000; got 0"),
]


def test_a_stopped_run_recovers_and_ends_as_if_nothing_had_been(engine: Engine, tmp_path: Path) -> None:
    run_id = engine.submit(MIDDLE)
    for _ in range(3):
        engine.send(run_id, "step")
    wait_until(lambda: engine.history(run_id).step == 3)
    engine.recover(run_id)  # active: left alone
    assert engine.state(run_id) is State.PAUSED
    engine.send(run_id, "stop")
    wait_until(lambda: not engine.state(run_id).active)
    assert engine.state(run_id) is State.STOPPED
    engine.recover(run_id)
    assert engine.state(run_id) is State.RUNNING
    assert engine.history(run_id).step >= 3
    wait_until(lambda: not engine.state(run_id).active)
    assert engine.state(run_id) is State.COMPLETED
    engine.recover(run_id)  # made all its steps: left alone
    assert engine.state(run_id) is State.COMPLETED
    assert events(engine.folder / run_id) == events(trained(tmp_path / "whole", MIDDLE))


def trained(folder: Path, spec: ExperimentSpec) -> Path:
    """A folder with an uninterrupted run."""
    folder.mkdir()
    (folder / SPEC).write_text(spec.to_json())
    deque(run(folder), maxlen=0)
    return folder


def events(folder: Path) -> list[str]:
    """Every event of a log, to the bit, with its number but without its time."""
    return [encode(replace(record, seconds=0.0)) for record in read_log(folder / LOG)]


@pytest.mark.parametrize(
    "run_id", ["", "0" * 32, "../../etc/passwd", "/etc/passwd", "A" * 32, "0" * 31 + "\n", "%2e%2e"]
)
def test_unknown_ids_are_refused_before_any_file_is_touched(engine: Engine, run_id: str) -> None:
    for call in (engine.history, engine.state, engine.spec, lambda name: engine.send(name, "stop")):
        with pytest.raises(UnknownRunError, match="there is no run"):
            call(run_id)


def test_bad_data_fail_the_run_with_a_message(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IWAE_DATA_DIR", str(tmp_path))
    engine.close()
    engine = type(engine)(tmp_path / "runs")
    run_id = engine.submit(SHORT)
    wait_until(lambda: not engine.state(run_id).active)
    outcome = engine.history(run_id).outcome
    assert isinstance(outcome, Failed)
    assert "put the four MNIST files there" in outcome.message
    engine.close()


def test_an_engine_has_a_limit(local: LocalEngine) -> None:
    first, _ = local.submit(LONG), local.submit(LONG)
    with pytest.raises(EngineFullError, match="2 experiments are already training"):
        local.submit(LONG)
    local.send(first, "stop")
    wait_until(lambda: not local._workers[first].alive)
    local.submit(SHORT)


def test_a_killed_worker_is_an_interrupted_run_and_can_go_on(local: LocalEngine) -> None:
    run_id = local.submit(LONG)
    wait_until(lambda: local.history(run_id).step >= 2)
    local.send(run_id, "pause")
    local._workers[run_id].process.kill()
    wait_until(lambda: local.state(run_id) is State.INTERRUPTED)
    local.send(run_id, "resume")
    assert local.history(run_id).step >= 2
    local.recover(run_id)  # from its start: it had no checkpoint yet
    assert local.state(run_id) is State.RUNNING
    assert local.history(run_id).step == 0
    wait_until(lambda: local.history(run_id).step >= 2)


def test_a_killed_worker_is_resumed_from_the_command_line(local: LocalEngine, tmp_path: Path) -> None:
    spec = replace(MIDDLE, schedule="burda", swaps=(Swap(run=0, step=15, estimator="iwae", k=3),))
    run_id = local.submit(spec)
    folder = local.folder / run_id
    for _ in range(20):
        local.send(run_id, "step")
    local.send(run_id, "checkpoint")
    wait_until(lambda: (folder / CHECKPOINT).exists())
    with pytest.raises(LogError, match="is being trained by another process"):
        rewind(folder)
    local.swap(run_id, 1, "vae", 4)
    wait_until(lambda: bool(checkpoint.load(folder / CHECKPOINT)["swaps"]))
    for _ in range(5):
        local.send(run_id, "step")
    wait_until(lambda: local.history(run_id).step == 25)
    local.send(run_id, "resume")
    local._workers[run_id].process.kill()
    wait_until(lambda: not local._workers[run_id].alive)
    assert local.state(run_id) is State.INTERRUPTED
    assert main(["train", "--resume", str(folder), "--json"]) == 0
    assert local.state(run_id) is State.COMPLETED, "whoever watched it sees how it went on"
    assert local.history(run_id).progress[:, 0].tolist() == list(range(1, 101))
    whole = trained(tmp_path / "whole", replace(spec, swaps=(*spec.swaps, Swap(run=1, step=20, estimator="vae", k=4))))
    assert events(folder)[1:] == events(whole)[1:]
    ours, others = (checkpoint.load(path / CHECKPOINT)["runs"] for path in (folder, whole))
    torch.testing.assert_close(ours, others, rtol=0, atol=0)


def test_runs_outlive_the_engine_that_made_them(local: LocalEngine) -> None:
    run_id = local.submit(SHORT)
    wait_until(lambda: not local.state(run_id).active)
    again = LocalEngine(local.folder)
    assert again.state(run_id) is State.COMPLETED
    assert again.history(run_id).step == 5
    again.close()


def test_a_spare_is_ready_again_after_a_respite(local: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_core.engines.local.RESPITE", 0.1)
    spare = local._spare
    run_id = local.submit(SHORT)
    assert local._workers[run_id] is spare
    wait_until(lambda: local._spare is not None)
    assert local._spare is not spare


def test_a_dead_spare_is_replaced(local: LocalEngine) -> None:
    assert local._spare
    local._spare.process.kill()
    local._spare.process.wait()
    run_id = local.submit(SHORT)
    wait_until(lambda: local.state(run_id) is State.COMPLETED)


SERVER = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started with it ignored
from iwae_core.engines.local import LocalEngine
from iwae_core.spec import ExperimentSpec, RunSpec
engine = LocalEngine(Path(sys.argv[1]))
run_id = engine.submit(ExperimentSpec(runs=(RunSpec("iwae", 1),), batch_size=1, steps=1000000, eval_images=2, eval_k=1))
while engine.history(run_id).step < 2:
    time.sleep(0.01)
engine._refill()
print(engine._workers[run_id].process.pid, engine._spare.process.pid, flush=True)
time.sleep(600)
"""


def exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_that_dies_leaves_no_process_behind(how: signal.Signals, tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            workers = [int(pid) for pid in server.stdout.readline().split()]
            assert len(workers) == 2
            assert all(exists(pid) for pid in workers)
            os.kill(server.pid, how)
            wait_until(lambda: not any(exists(pid) for pid in workers), seconds=5)
        finally:
            server.kill()
