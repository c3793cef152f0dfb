"""The experiment that the page shows first."""

from functools import cache
from pathlib import Path

from iwae_lab.history.history import History
from iwae_lab.records.log import read_log

RECORDING = Path(__file__).parents[1] / "assets" / "recorded" / "vae_iwae_k50.jsonl.xz"


@cache
def recording() -> History:
    """The finished experiment that ships with the program."""
    return History(read_log(RECORDING))
