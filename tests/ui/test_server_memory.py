"""How the server's process has its memory from the C library, seen in processes of their own."""

import subprocess
import sys

from tests.support.running import linux

# Prints how many pools of memory glibc has made for ten threads; each begins at a multiple of its size.
POOLS = """
import sys
from threading import Barrier, Thread
from ui.server.process import spare_memory

if sys.argv[1]:
    spare_memory()
together = Barrier(11)

def work():
    kept = bytes(10_000)
    together.wait()
    together.wait()

for _ in range(10):
    Thread(target=work).start()
together.wait()
maps = [line.split() for line in open("/proc/self/maps")]
starts = [int(words[0].partition("-")[0], 16) for words in maps if words[1] == "rw-p" and len(words) == 5]
print(sum(start % 2**26 == 0 for start in starts))
together.wait()
"""
LARGE = """
import sys
from ui.server.process import spare_memory

if sys.argv[1]:
    spare_memory()
once = bytes(20_000_000)
del once  # from now on the C library would take all that is smaller from its pool
large = bytes(1_000_000)
pool = next(line.split()[0] for line in open("/proc/self/maps") if line.endswith("[heap]\\n"))
first, last = (int(end, 16) for end in pool.split("-"))
print(first <= id(large) < last)
"""


@linux
def test_threads_share_their_memory() -> None:
    shared, own = (int(subprocess.check_output([sys.executable, "-c", POOLS, words])) for words in ("share", ""))
    assert shared <= 2 < own


@linux
def test_what_is_large_has_memory_of_its_own() -> None:
    said = [subprocess.check_output([sys.executable, "-c", LARGE, words], text=True) for words in ("share", "")]
    assert said == ["False\n", "True\n"]  # in the pool, or not
