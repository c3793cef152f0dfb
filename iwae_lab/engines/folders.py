"""The folders of experiments: each holds a specification, a log and the last state, and whose it is."""

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

EXPERIMENT_ID = re.compile(r"[0-9a-f]{32}")
OWNER = "owner"
RECENT = 3600.0  # seconds since its last use for which none is deleted


class UnknownExperimentError(LookupError):
    """No experiment has this id here."""


class NotOwnerError(PermissionError):
    """The experiment belongs to somebody else."""


def digest(owner: str) -> str:
    """What is kept of an owner's token: its SHA-256, or nothing for nobody."""
    return hashlib.sha256(owner.encode()).hexdigest() if owner else ""


class Folders:
    """All experiments below one folder, in the order in which they were made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        found = [path for path in root.iterdir() if EXPERIMENT_ID.fullmatch(path.name)] if root.is_dir() else []
        made = sorted(((path / SPEC).stat().st_mtime_ns, path) for path in found if (path / SPEC).is_file())
        self._specs: dict[str, ExperimentSpec] = {}
        self._owners = {path.name: _read(path / OWNER) for _, path in made}

    def make(self, spec: ExperimentSpec, owner: str) -> str:
        """A new experiment's id; leaves nothing behind if the disk is full."""
        experiment_id = uuid.uuid4().hex
        folder = self.root / experiment_id
        folder.mkdir(parents=True)
        try:
            if owner:
                (folder / OWNER).write_text(digest(owner))
            (folder / SPEC).write_text(spec.to_json())
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._owners[experiment_id] = digest(owner)
        return experiment_id

    def __getitem__(self, experiment_id: str) -> Path:
        """The folder of an experiment.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        folder = self.root / experiment_id
        if not EXPERIMENT_ID.fullmatch(experiment_id) or folder.is_symlink() or not (folder / SPEC).is_file():
            raise UnknownExperimentError(
                f"there is no run {experiment_id[:40]!r} here; it may have been deleted, or the link is incomplete"
            )
        return folder

    def spec(self, experiment_id: str) -> ExperimentSpec:
        """The specification it was started with, which never changes.

        Raises:
            UnknownExperimentError: no such experiment.
        """
        folder = self[experiment_id]
        if experiment_id not in self._specs:
            self._specs[experiment_id] = ExperimentSpec.from_json((folder / SPEC).read_text())
        return self._specs[experiment_id]

    def owner(self, experiment_id: str) -> str:
        """The digest of the owner's token; empty for one of nobody in particular."""
        folder = self[experiment_id]
        if experiment_id not in self._owners:  # another process made it
            self._owners[experiment_id] = _read(folder / OWNER)
        return self._owners[experiment_id]

    def owns(self, experiment_id: str, owner: str) -> bool:
        """Whether the token is its owner's; one of nobody is everybody's."""
        expected = self.owner(experiment_id)
        return not expected or hmac.compare_digest(expected, digest(owner))

    def of(self, owner: str) -> list[str]:
        """The owner's experiments, newest first."""
        wanted = digest(owner)
        return [experiment_id for experiment_id, found in reversed(self._owners.copy().items()) if found == wanted]

    def touch(self, experiment_id: str) -> None:
        """Note that it is in use."""
        os.utime(self[experiment_id])

    def excess(self, quota_mb: float) -> list[str]:
        """Those to delete, longest unused first, until the others fit into the quota; none used in the last hour."""
        sizes = {experiment_id: _size(self.root / experiment_id) for experiment_id in self._owners.copy()}
        over, chosen = sum(sizes.values()) - quota_mb * 1e6, []
        for used, experiment_id in sorted(
            (_last_use(self.root / experiment_id), experiment_id) for experiment_id in sizes
        ):
            if over <= 0 or time.time() - used < RECENT:
                break
            chosen.append(experiment_id)
            over -= sizes[experiment_id]
        return chosen

    def delete(self, experiment_id: str) -> None:
        """Remove an experiment and everything it left."""
        self._owners.pop(experiment_id, None)
        self._specs.pop(experiment_id, None)
        shutil.rmtree(self.root / experiment_id, ignore_errors=True)


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


def _last_use(folder: Path) -> float:
    paths = (folder, folder / LOG, folder / CHECKPOINT)
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
