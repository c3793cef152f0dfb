"""The folders of runs: each holds a specification, a log and the last state, and whose run it is."""

import hashlib
import hmac
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from iwae_core.training.spec import ExperimentSpec
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC

RUN_ID = re.compile(r"[0-9a-f]{32}")
OWNER = "owner"
RECENT = 3600.0  # seconds since its last use for which a run is never deleted


class UnknownRunError(LookupError):
    """No run has this id here."""


class NotOwnerError(PermissionError):
    """The run belongs to somebody else."""


def digest(owner: str) -> str:
    """What is kept of an owner's token: its SHA-256, or nothing for nobody."""
    return hashlib.sha256(owner.encode()).hexdigest() if owner else ""


class RunFolders:
    """All runs below one folder, in the order in which they were made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = [path for path in root.iterdir() if RUN_ID.fullmatch(path.name)] if root.is_dir() else []
        made = sorted(((path / SPEC).stat().st_mtime_ns, path) for path in found if (path / SPEC).is_file())
        self._owners = {path.name: _read(path / OWNER) for _, path in made}

    def make(self, spec: ExperimentSpec, owner: str) -> str:
        """A new run's id; leaves nothing behind if the disk is full."""
        run_id = uuid.uuid4().hex
        folder = self.root / run_id
        folder.mkdir(parents=True)
        try:
            if owner:
                (folder / OWNER).write_text(digest(owner))
            (folder / SPEC).write_text(spec.to_json())
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._owners[run_id] = digest(owner)
        return run_id

    def __getitem__(self, run_id: str) -> Path:
        """The folder of a run.

        Raises:
            UnknownRunError: no such run.
        """
        folder = self.root / run_id
        if not RUN_ID.fullmatch(run_id) or folder.is_symlink() or not (folder / SPEC).is_file():
            raise UnknownRunError(
                f"there is no run {run_id[:40]!r} here; it may have been deleted, or the link is incomplete"
            )
        return folder

    def owner(self, run_id: str) -> str:
        """The digest of the owner's token; empty for a run of nobody in particular."""
        folder = self[run_id]
        if run_id not in self._owners:  # another process made it
            self._owners[run_id] = _read(folder / OWNER)
        return self._owners[run_id]

    def owns(self, run_id: str, owner: str) -> bool:
        """Whether the token is its owner's; a run of nobody is everybody's."""
        expected = self.owner(run_id)
        return not expected or hmac.compare_digest(expected, digest(owner))

    def of(self, owner: str) -> list[str]:
        """The owner's runs, newest first."""
        wanted = digest(owner)
        return [run_id for run_id, found in reversed(self._owners.copy().items()) if found == wanted]

    def touch(self, run_id: str) -> None:
        """Note that the run is in use."""
        os.utime(self[run_id])

    def excess(self, quota_mb: float) -> list[str]:
        """The runs to delete, longest unused first, until the others fit into the quota; none used in the last hour."""
        sizes = {run_id: _size(self.root / run_id) for run_id in self._owners.copy()}
        over, chosen = sum(sizes.values()) - quota_mb * 1e6, []
        for used, run_id in sorted((_last_use(self.root / run_id), run_id) for run_id in sizes):
            if over <= 0 or time.time() - used < RECENT:
                break
            chosen.append(run_id)
            over -= sizes[run_id]
        return chosen

    def delete(self, run_id: str) -> None:
        """Remove a run and everything it left."""
        self._owners.pop(run_id, None)
        shutil.rmtree(self.root / run_id, ignore_errors=True)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def _last_use(folder: Path) -> float:
    paths = (folder, folder / LOG, folder / CHECKPOINT)
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
