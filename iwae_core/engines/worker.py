"""A worker process: `python -m iwae_core.engines.worker`, driven by lines on its standard input.

The first line names the folder of the run, a JSON string; each further line is a command. Getting ready (torch, data, a
rehearsal) comes before the first line, so a worker started in advance begins at once. When the input ends, its parent
is gone, however it died: the worker then ends itself, in the middle of a step if need be.
"""

import contextlib
import json
import os
import sys
import threading
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue

from iwae_core.datasets import DataError
from iwae_core.engines.runner import run
from iwae_core.spec import ExperimentSpec, RunSpec
from iwae_core.train import prepare_process, train

# Loads the data, and makes torch load and set up what it only does at the first step (over a second).
REHEARSAL = ExperimentSpec(runs=(RunSpec("iwae", 2),), batch_size=2, steps=1, eval_images=2, eval_k=1)


def main() -> None:
    """Get ready, train the one run asked for, and end."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    os.nice(5)  # the page comes first
    prepare_process()
    with contextlib.suppress(DataError):  # the run itself will report it
        deque(train(REHEARSAL), maxlen=0)
    folder = Path(json.loads(lines.get()))

    def receive(wait: bool) -> str | None:
        try:
            return lines.get(block=wait)
        except Empty:
            return None

    deque(run(folder, receive), maxlen=0)


def _listen(lines: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line.strip())
    os._exit(0)


if __name__ == "__main__":
    main()
