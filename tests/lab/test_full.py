"""Too little space, too little memory."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iwae_core.training.events import Failed, Finished, Progress
from iwae_core.training.memory import memory_mb
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.engines import (
    State,
    open_engine,
)
from iwae_lab.engines.protocol import Checkpoint
from iwae_lab.records.folder import LOG, SPEC
from iwae_lab.records.log import EventLog, LogReader
from tests.support.running import (
    LARGE,
    LIMITS,
    LONG,
    SHORT,
    dismiss,
    filled,
    finish,
    linux,
    reach,
    small_disk,
    trained,
)
from tests.support.running import local as local
from tests.support.running import make_engine as make_engine
from tests.support.running import used_workers as used_workers

# Too little space, too little memory.

ROOT = Path(__file__).parents[2]


def no_space(*_: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_too_full_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = EventLog.append

    def limited(self: EventLog, event: Any, seconds: float) -> Any:
        return no_space() if isinstance(event, Progress) and event.step == 3 else append(self, event, seconds)

    monkeypatch.setattr(EventLog, "append", limited)
    *_, last = LogReader(trained(tmp_path / "run", SHORT) / LOG).new()
    assert isinstance(last.event, Failed)
    assert last.event.message.startswith("disk full: the run could not be saved; free some space")
    monkeypatch.setattr(EventLog, "append", no_space)
    with pytest.raises(OSError, match="No space left"):
        trained(tmp_path / "mute", SHORT)


def test_a_disk_too_full_for_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", no_space)
    folder = trained(tmp_path / "run", SHORT)
    *_, last = LogReader(folder / LOG).new()
    assert isinstance(last.event, Failed)
    assert last.event.message.startswith("disk full")
    assert sorted(path.name for path in folder.iterdir()) == [LOG, SPEC]


def test_a_record_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with EventLog(tmp_path / "log") as log:
        log.append(Progress(1, (0.0,), (0.0,)), 0.0)
        size = (tmp_path / "log").stat().st_size

        class Short:
            """A file on a disk that has room for ten bytes."""

            def __init__(self, file: Any) -> None:
                self.file, self.room = file, 10

            def write(self, line: bytes) -> int:
                if not self.room:
                    no_space()
                written = self.file.write(line[: self.room])
                self.room = 0
                return int(written)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.file, name)

        whole, log._file = log._file, Short(log._file)  # type: ignore[assignment]
        with pytest.raises(OSError, match="No space"):
            log.append(Progress(2, (0.0,), (0.0,)), 0.0)
        assert (tmp_path / "log").stat().st_size == size
        log._file = whole
        log.append(Finished(1), 0.0)
    assert [record.number for record in LogReader(tmp_path / "log").new()] == [0, 1]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 3) as disk:
        yield disk


def test_a_disk_that_fills_up_ends_the_run_and_nothing_else(tiny_disk: Path) -> None:
    engine = open_engine("local", tiny_disk, LIMITS)
    experiment = engine.submit(LONG)
    reach(engine, experiment, 2)
    with filled(tiny_disk):
        engine.send(experiment, Checkpoint())
        finish(engine, experiment)
        outcome = engine.history(experiment).outcome
        assert isinstance(outcome, Failed)
        assert outcome.message.startswith("disk full")
        assert not list((tiny_disk / experiment).glob("*.partial"))
        with pytest.raises(OSError, match="No space"):
            engine.submit(LONG)
        assert sorted(path.name for path in tiny_disk.iterdir()) == sorted([".servers", experiment, "ballast"])
    engine.recover(experiment)
    reach(engine, experiment, 2)
    dismiss(engine)


def test_a_run_beyond_its_memory_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "iwae_lab.engines.engine.require_memory", lambda spec, allowed: None
    )  # as if the estimate were wrong
    engine = open_engine("local", tmp_path, replace(LIMITS, memory_mb=900))
    small = engine.submit(LONG)
    large = engine.submit(LARGE)
    finish(engine, large)
    outcome = engine.history(large).outcome
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("out of memory: this run needs more than it may have; choose a smaller k")
    reach(engine, small, engine.history(small).step + 1)
    assert engine.state(small) is State.RUNNING
    dismiss(engine)


MEMORY = """
import sys
from collections import deque
from iwae_core.training.spec import ExperimentSpec
from iwae_core.training.loop import train
from iwae_core.training.process import prepare_process
prepare_process()
deque(train(ExperimentSpec.from_json(sys.argv[1])), maxlen=0)
# Not ru_maxrss: a process inherits that from the one that started it.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024 / 1e6)
"""


@linux
@pytest.mark.parametrize(("k", "batch_size"), [(2, 2), (1000, 100)])
def test_the_estimate_of_memory_is_about_right(k: int, batch_size: int) -> None:
    runs = (RunSpec("wake_sleep", k, "sbn_3"),)
    spec = ExperimentSpec(runs, batch_size=batch_size, steps=1, eval_images=2, eval_k=1)
    command = [sys.executable, "-c", MEMORY, spec.to_json()]
    peak = float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert peak / 1.5 < memory_mb(spec) < peak * 1.5
