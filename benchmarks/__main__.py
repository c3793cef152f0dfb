"""`python -m benchmarks`: the same as `iwae bench`."""

import sys

from iwae_lab.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
