"""Which server has an experiment in its care: several may share one folder of runs, and must know each other's."""

import fcntl
import os
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from iwae_lab.records.files import opened

SERVER = "server"  # in the folder of an experiment: the name of the server that took it on last
SERVERS = ".servers"  # beside the experiments: a file for each server, locked for as long as it lives


class Presence:
    """This server among all on a folder. Its lock ends with its process, however that ends."""

    def __init__(self, root: Path) -> None:
        self.name = uuid.uuid4().hex
        self._servers = root / SERVERS
        self._leave: Callable[[], object] | None = None

    def claim(self, folder: Path) -> None:
        """Take an experiment on.

        Raises:
            OSError: that cannot be written, as on a full disk.
        """
        if self._leave is None:
            self._leave = weakref.finalize(self, os.close, self._enter())
        (folder / SERVER).unlink(missing_ok=True)
        with opened(folder / SERVER, "x") as file:
            file.write(self.name)

    def elsewhere(self, folder: Path) -> bool:
        """Whether another server that lives has an experiment in its care."""
        try:
            name = (folder / SERVER).read_text()
            return name != self.name and _locked(self._servers / Path(name).name)
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        """Leave everything to others."""
        if self._leave:
            (self._servers / self.name).unlink(missing_ok=True)
            self._leave()
            self._leave = None

    def _enter(self) -> int:
        """A descriptor that holds this server's lock."""
        self._servers.mkdir(parents=True, exist_ok=True)
        for path in self._servers.glob("*[0-9a-f]"):
            if not _locked(path):
                path.unlink(missing_ok=True)  # of a server that has died
        unseen = self._servers / f"{self.name}.new"
        lock = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        unseen.replace(self._servers / self.name)  # nobody has seen it without its lock
        return lock


def _locked(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
