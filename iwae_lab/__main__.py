"""The command line: `iwae train ...`, `evaluate DIR` and the rest of `iwae_lab.cli.commands`, and `iwae demo`."""

import sys
from collections.abc import Sequence
from importlib import import_module

from iwae_lab import __version__
from iwae_lab.cli.above import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # What needs no torch does not wait the seconds that it takes to load; the page loads it while a browser starts.
    if words[:1] == ["demo"]:
        return command("demo")(words[1:])
    if words == ["--version"]:
        print(f"iwae {__version__}")
        return 0
    code: int = import_module("iwae_lab.cli.program").main(words)
    return code


if __name__ == "__main__":
    sys.exit(main())
