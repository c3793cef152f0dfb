"""Whether the machine is quiet: what others take while nothing is measured, and how long what is measured waits.

Both are needed. A program on another core takes no processor time from a step on this one, but memory and clock speed.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STAT = Path("/proc/stat")
SETTLE = 0.5  # seconds until threads of the last step no longer spin
SECONDS = 0.5  # of looking at what others do
MOST_OTHERS = 0.1  # of one processor, that others may take
MOST_WAITED = 0.1  # of the time of a step, that it may wait for a processor
IDLE = 3, 4  # columns of /proc/stat: idle, and waiting for a disk


def others() -> float | None:
    """Processors that others use now, while this program and its workers rest; None where the system does not tell."""
    time.sleep(SETTLE)
    before = _times()
    time.sleep(SECONDS)
    after = _times()
    if before is None or after is None:
        return None
    passed = [b - a for a, b in zip(before, after, strict=True)]
    total = sum(passed) or 1
    return (1 - sum(passed[column] for column in IDLE) / total) * (os.cpu_count() or 1)


def _times() -> list[int] | None:
    if not STAT.exists():
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; those of guests are among the first two.
    return [int(number) for number in STAT.read_text().splitlines()[0].split()[1:9]]


def waited(wall: Sequence[float], processor: Sequence[float]) -> float:
    """The share of the time of steps on one core in which they had to wait for it."""
    return max(0.0, 1 - sum(processor) / sum(wall))


def noise(before: float | None, after: float | None, waiting: float | None) -> dict[str, Any]:
    """What was found, and why it is too much, if it is."""
    most = max((value for value in (before, after) if value is not None), default=None)
    reasons = []
    if most is not None and most > MOST_OTHERS:
        reasons.append(f"others used {most:.2f} processors")
    if waiting is not None and waiting > MOST_WAITED:
        reasons.append(f"steps waited {waiting:.0%} of their time for a processor")
    return {
        "others": None if most is None else round(most, 3),
        "waited": None if waiting is None else round(waiting, 3),
        "reasons": reasons,
    }
