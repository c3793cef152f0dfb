"""The contestants must estimate the same bound, and learn alike."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.comparisons import Entry
from benchmarks.process import BenchError

ERRORS = 6  # how far means may differ, in standard errors
OF_GAIN = 0.25  # and after training, further by this share of what training gained


def agree(entries: Sequence[Entry], checks: Sequence[dict[str, Any]]) -> None:
    """Compare every estimate of the bound with that of the first entry, this project's.

    They agree if their means differ by no more than their noise at the common start, and after a few training steps by
    no more than noise and a quarter of what was gained: a wrong gradient or a step that does nothing shows there.

    Raises:
        BenchError: the first entry was not run, or another disagrees with it.
    """
    first, ours = entries[0], checks[0]
    if "not_run" in ours:
        raise BenchError(f"{first.name}: {ours['not_run']}")
    gain = abs(np.mean(ours["after"]) - np.mean(ours["before"]))
    for entry, check in zip(entries[1:], checks[1:], strict=True):
        if not check.get("before") or (entry.batch, entry.k) != (first.batch, first.k):
            continue
        for when, allowance in (("before", 0.0), ("after", OF_GAIN * gain)):
            difference = np.mean(check[when]) - np.mean(ours[when])
            allowed = allowance + ERRORS * (_variance(check[when]) + _variance(ours[when])) ** 0.5
            if not abs(difference) <= allowed:
                raise BenchError(
                    f"{entry.name} does not compute the bound of {first.name} at batch {entry.batch}, k = {entry.k}: "
                    f"{when} training it differs by {difference:+.3f} nats, {allowed:.3f} are allowed"
                )


def _variance(values: Sequence[float]) -> float:
    """Of their mean."""
    return float(np.var(values, ddof=1)) / len(values)
