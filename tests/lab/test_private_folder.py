"""What another user of the machine may have put there before: folders of the same name, and links."""

import os
import stat
from pathlib import Path

import pytest

from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines import open_engine
from iwae_lab.engines.process import Worker
from iwae_lab.records import checkpoint
from iwae_lab.records.checkpoint import CheckpointError
from iwae_lab.records.folder import CHECKPOINT, LOG, PREVIOUS, SPEC
from iwae_lab.records.log import EventLog
from iwae_lab.records.place import runs_folder
from tests.support.running import LIMITS, linux


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_the_default_folder_is_its_users_alone(shared: Path) -> None:
    folder = runs_folder({})
    assert folder == runs_folder({}), "and the same the next time"
    assert folder.parent == shared
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    assert stat.S_IMODE(runs_folder({}).stat().st_mode) == 0o700
    assert runs_folder({"IWAE_RUNS_DIR": str(shared / "mine")}) == shared / "mine"


def test_two_users_have_two_folders(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = runs_folder({})
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(SpecError, match="set IWAE_RUNS_DIR"):
        runs_folder({})  # made just now, but by whoever runs this test
    assert mine != shared / "iwae-runs-12345"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_somebody_else_put_there_is_refused(kind: str, shared: Path, tmp_path: Path) -> None:
    place, theirs = runs_folder({}), tmp_path / "theirs"
    place.rmdir()
    theirs.mkdir(mode=0o755)
    place.symlink_to(theirs) if kind == "link" else place.touch()
    with pytest.raises(SpecError, match=f"iwae-runs-{os.getuid()} belongs to somebody else; set IWAE_RUNS_DIR"):
        runs_folder({})
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o755


def test_no_link_is_followed_when_something_is_written(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoint.partial").symlink_to(victim)
    (folder / CHECKPOINT).symlink_to(victim)
    checkpoint.save(folder / CHECKPOINT, {"a": 1})
    assert checkpoint.load(folder / CHECKPOINT) == {"a": 1}
    (folder / LOG).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        EventLog(folder / LOG)
    assert victim.read_text() == "precious"
    assert sorted(path.name for path in folder.iterdir()) == [CHECKPOINT, LOG], "the link is no previous state"


def test_a_partial_file_is_ours_or_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, path = tmp_path / "victim", tmp_path / CHECKPOINT
    victim.write_text("precious")
    unlink = Path.unlink

    def quicker(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok)
        self.symlink_to(victim)  # as soon as the name is free

    path.with_suffix(".partial").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", quicker)
        with pytest.raises(FileExistsError):
            checkpoint.save(path, {})
    assert victim.read_text() == "precious"


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.partial").write_bytes(b"half")
    checkpoint.save(tmp_path / CHECKPOINT, {"a": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT]


def test_the_files_of_a_run_are_not_for_others_to_write(tmp_path: Path) -> None:
    engine = open_engine("inline", tmp_path, LIMITS)
    folder = tmp_path / engine.submit(ExperimentSpec(), "me")
    for name in (SPEC, "owner", "server"):
        assert not (folder / name).stat().st_mode & 0o022
    engine.close()


def test_the_state_before_is_kept(tmp_path: Path) -> None:
    path, before = tmp_path / CHECKPOINT, tmp_path / PREVIOUS
    for number in range(3):
        checkpoint.save(path, {"a": number})
    assert [checkpoint.load(found)["a"] for found in (path, before)] == [2, 1]
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.save(path, {"a": 3})
    assert [checkpoint.load(found)["a"] for found in (path, before)] == [3, 1], "a damaged one takes nobody's place"
    path.unlink()
    with pytest.raises(CheckpointError, match=r"^cannot read checkpoint\.pt: No such file or directory$"):
        checkpoint.load(path)


@linux
def test_a_worker_gets_what_it_needs_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("IWAE_SECRET", "hidden")
    monkeypatch.setenv("IWAE_DATA_DIR", "/data")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    worker = Worker()
    process = Path(f"/proc/{worker.process.pid}")
    while b"iwae_lab.engines.worker" not in (process / "cmdline").read_bytes():
        assert worker.alive  # not yet the program that it is to become
    environment = (process / "environ").read_bytes()
    worker.kill()
    worker.close()
    assert b"hidden" not in environment
    assert {b"IWAE_DATA_DIR=/data", b"OMP_NUM_THREADS=1"} < set(environment.split(b"\0"))
