"""plotly.js with the types of charts that are drawn here, see `assets/plotly/README.md`."""

import gzip
from pathlib import Path

VERSION = "4.1.1"
SHA256 = "d7eb3e363b08c539569af55384352fa83cb47801e04a79aa819d5c40570ce38d"  # of the file
FILE = Path(__file__).parents[1] / "assets" / "plotly" / f"plotly-cartesian-{VERSION}.min.js.gz"


def compressed() -> bytes:
    """The library, compressed by gzip."""
    return FILE.read_bytes()


def source() -> str:
    """The library's code."""
    return gzip.decompress(compressed()).decode()
