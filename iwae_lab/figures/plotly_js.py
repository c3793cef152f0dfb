"""plotly.js with the types of charts that are drawn here, see `assets/plotly/README.md`."""

import gzip
from pathlib import Path

VERSION = "4.1.1"
FILE = Path(__file__).parents[1] / "assets" / "plotly" / f"plotly-cartesian-{VERSION}.min.js.gz"


def compressed() -> bytes:
    """The library, compressed by gzip."""
    return FILE.read_bytes()


def source() -> str:
    """The library's code."""
    return gzip.decompress(compressed()).decode()
