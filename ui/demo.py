"""`iwae demo`: the page, served from wherever the program is, a clone or an installation."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ui.server.settings import CODE, LOCAL, ON, check_settings

HERE = Path(__file__).parent
# Streamlit reads the settings beside the script it runs. A wheel has both in a folder of their own, where
# tools/build.py puts them; a clone has them at its top.
SCRIPTS = (HERE / "front" / "app.py", HERE.parent / "app.py")


def demo(options: Sequence[str]) -> NoReturn:
    """Become the server of the page; `options` are those of `streamlit run`.

    The server takes the place of this process, so Ctrl-C, other signals and the exit code are its own.
    """
    check_settings()
    script = next(path for path in SCRIPTS if path.is_file())
    # A page that trains models on request is not offered to the whole network by accident.
    address = os.environ.setdefault("STREAMLIT_SERVER_ADDRESS", "localhost")
    if address in LOCAL and not any(option.startswith("--server.address") for option in options):
        os.environ.setdefault(CODE, ON)  # who can open the page could as well start Python
    # -P: modules in the folder where it is called are not taken for those of the program.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "streamlit", "run", str(script), *options])
