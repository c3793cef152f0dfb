"""The folders of experiments: each holds a specification, a log and the last state, and whose it is."""

import hashlib
import hmac
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from iwae_core.training.fields import SpecError
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.engines.presence import Presence
from iwae_lab.records.files import opened, replace
from iwae_lab.records.folder import CHECKPOINT, LOG, SPEC

LOGGER = logging.getLogger(__name__)
EXPERIMENT_ID = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{64}")
OWNER = "owner"
SWEEP = "sweep"  # in the folder of the first member of a sweep: all of them, one a line
NOBODY = "?"  # the owner of one whose owner cannot be read
RECENT = 3600.0  # seconds since its last use for which none is deleted


class UnknownExperimentError(LookupError):
    """No experiment has this id here."""


class NotOwnerError(PermissionError):
    """The experiment belongs to somebody else."""


def digest(owner: str) -> str:
    """What is kept of an owner's token: its SHA-256, or nothing for nobody."""
    return hashlib.sha256(owner.encode()).hexdigest() if owner else ""


class Folders:
    """All experiments below one folder, in the order in which they were made; `ids` are the names they may have."""

    def __init__(self, root: Path, ids: re.Pattern[str] = EXPERIMENT_ID) -> None:
        self.root, self._ids = root, ids
        self.presence = Presence(root)
        found = [path for path in root.iterdir() if ids.fullmatch(path.name)] if root.is_dir() else []
        made = sorted((time, path) for path in found if (time := _time(path / SPEC)))
        self._specs: dict[str, ExperimentSpec] = {}
        self._unreadable: set[str] = set()
        self._owners = {path.name: _owner(path) for _, path in made}

    def make(self, spec: ExperimentSpec, owner: str) -> str:
        """A new experiment's id; leaves nothing behind if the disk is full."""
        experiment_id = uuid.uuid4().hex
        folder = self.root / experiment_id
        folder.mkdir(parents=True)
        try:
            if owner:
                _write(folder / OWNER, digest(owner))
            _write(folder / SPEC, spec.to_json())
            self.presence.claim(folder)
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
        if not self._ids.fullmatch(experiment_id) or folder.is_symlink() or not _time(folder / SPEC):
            raise UnknownExperimentError(
                f"there is no run {experiment_id[:40]!r} here; it may have been deleted, or the link is incomplete"
            )
        return folder

    def all(self) -> list[tuple[str, Path]]:
        """Every experiment that is known, oldest first, and its folder."""
        return [(experiment_id, self.root / experiment_id) for experiment_id in self._owners.copy()]

    def spec(self, experiment_id: str) -> ExperimentSpec:
        """The specification it was started with, which never changes.

        Raises:
            UnknownExperimentError: no such experiment, or its specification cannot be read.
        """
        folder = self[experiment_id]
        if experiment_id not in self._specs:
            try:
                self._specs[experiment_id] = ExperimentSpec.from_json((folder / SPEC).read_text())
            except (SpecError, OSError, ValueError) as error:
                if experiment_id not in self._unreadable:
                    LOGGER.warning("cannot read the specification of run %s: %s", experiment_id, error)
                self._unreadable.add(experiment_id)
                raise UnknownExperimentError(f"run {experiment_id} cannot be read: its {SPEC} is damaged") from error
        return self._specs[experiment_id]

    def owner(self, experiment_id: str) -> str:
        """The digest of the owner's token; empty for one of nobody in particular."""
        folder = self[experiment_id]
        if experiment_id not in self._owners:  # another process made it
            self._owners[experiment_id] = _owner(folder)
        return self._owners[experiment_id]

    def owns(self, experiment_id: str, owner: str) -> bool:
        """Whether the token is its owner's; one of nobody is everybody's."""
        expected = self.owner(experiment_id)
        return not expected or hmac.compare_digest(expected, digest(owner))

    def of(self, owner: str) -> list[str]:
        """The owner's experiments, newest first, without those whose specification cannot be read."""
        wanted = digest(owner)
        mine = (experiment_id for experiment_id, found in reversed(self._owners.copy().items()) if found == wanted)
        return [experiment_id for experiment_id in mine if self._readable(experiment_id)]

    def _readable(self, experiment_id: str) -> bool:
        try:
            return bool(self.spec(experiment_id))
        except UnknownExperimentError:
            return False

    def gather(self, members: Sequence[str]) -> None:
        """Have several be known by the first of them.

        Raises:
            OSError: that cannot be written, as on a full disk.
        """
        if members:
            replace(self[members[0]] / SWEEP, "\n".join(members).encode())

    def gathered(self, experiment_id: str) -> Sequence[str]:
        """All that are known by this one; most stand for themselves alone."""
        try:
            return (self[experiment_id] / SWEEP).read_text().split() or [experiment_id]
        except (OSError, ValueError):
            return [experiment_id]

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


def _write(path: Path, text: str) -> None:
    with opened(path, "x") as file:
        file.write(text)


def _owner(folder: Path) -> str:
    try:
        written = (folder / OWNER).read_text()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return NOBODY
    return written if DIGEST.fullmatch(written) else NOBODY


def _size(folder: Path) -> int:
    return sum(found.st_size for path in folder.glob("*") if (found := _stat(path)) and S_ISREG(found.st_mode))


def _last_use(folder: Path) -> float:
    found = map(_stat, (folder, folder / LOG, folder / CHECKPOINT))
    return max((of.st_mtime for of in found if of), default=0.0)


def _time(path: Path) -> int:
    """When a file was written, in ns; 0 if there is no such file."""
    found = _stat(path)
    return found.st_mtime_ns if found and S_ISREG(found.st_mode) else 0


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
