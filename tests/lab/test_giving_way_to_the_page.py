"""Training leaves the processor to the page."""

import subprocess
import sys
from pathlib import Path

from iwae_lab.engines.worker import NICE

AUTOGROUP = Path("/proc/self/autogroup")


def test_a_worker_steps_back_within_its_session_and_with_it() -> None:
    code = "import os; from iwae_lab.engines.worker import give_way; give_way(); print(os.nice(0))"
    shown = f"; print(open('{AUTOGROUP}').read())" if AUTOGROUP.exists() else ""
    before = "import os; print(os.nice(0))"
    first = int(subprocess.run([sys.executable, "-c", before], capture_output=True, text=True, check=True).stdout)
    told = subprocess.run(
        [sys.executable, "-c", code + shown], capture_output=True, text=True, check=True, start_new_session=True
    )
    nice, *group = told.stdout.split("\n", 1)
    assert int(nice) == min(first + NICE, 19)
    if shown:
        assert f"nice {NICE}" in group[0]
