"""The finished experiments that the page can show before anybody has trained."""

from functools import cache
from pathlib import Path

from iwae_lab.history.history import History
from iwae_lab.records.log import read_log

FOLDER = Path(__file__).parents[1] / "assets" / "recorded"
NAMES = ("proof", "same", "long", "swap", "one_sample", "dreg", "binary", "plane", "linear")
FIRST = NAMES[0]  # shown first


@cache
def recording(name: str = FIRST) -> History:
    """One of the experiments that ship with the program."""
    return History(read_log(FOLDER / f"{name}.jsonl.xz"))
