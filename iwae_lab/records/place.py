"""Where the runs of a server are kept."""

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from iwae_core.training.fields import SpecError


def runs_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where a server keeps its runs: IWAE_RUNS_DIR, or a folder of this user alone in the temporary directory.

    Raises:
        SpecError: somebody else has made the folder of that name, or a link.
    """
    if chosen := environment.get("IWAE_RUNS_DIR"):
        return Path(chosen)
    folder = Path(tempfile.gettempdir()) / f"iwae-runs-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SpecError(f"{folder} belongs to somebody else; set IWAE_RUNS_DIR to a folder of your own")
    folder.chmod(0o700)
    return folder
