"""A name for each run that tells it from the others."""

from collections.abc import Sequence
from itertools import pairwise

from iwae_core.training.events import Swapped
from iwae_core.training.spec import SETTINGS, ExperimentSpec, RunSpec


def labels(spec: ExperimentSpec, swaps: Sequence[Swapped] = ()) -> list[str]:
    """A name for each run that tells it from the others: its estimators in order, and no more than is needed.

    "VAE", "IWAE" where estimators differ, "IWAE k=5", "IWAE k=50" where they do not, "VAE → IWAE" after a swap.
    """
    return distinct(chains(spec, swaps), DETAILS)


def distinct(found: Sequence[Sequence[RunSpec]], details: Sequence[Sequence[str]]) -> list[str]:
    """The same for chains of several experiments; `details` are tried in order."""
    names = [_chain(chain, ()) for chain in found]
    for more in details:
        twins = [names.count(name) > 1 for name in names]
        told = [_chain(chain, more) if twin else name for chain, name, twin in zip(found, names, twins, strict=True)]
        if len(set(told)) > len(set(names)):
            names = told
    return [f"{name} #{names[:i].count(name) + 1}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def chains(spec: ExperimentSpec, swaps: Sequence[Swapped] = ()) -> list[list[RunSpec]]:
    """What has trained each run, one after the other."""
    found = [[run] for run in spec.runs]
    for swap in swaps:
        found[swap.run].append(found[swap.run][-1].swapped(swap.estimator, swap.k))
    return found


# What may tell runs of one estimator apart, tried in order.
DETAILS = (("k",), ("model",), SETTINGS, ("backward",), ("k", "model", *SETTINGS, "backward"))


def _chain(chain: Sequence[RunSpec], details: Sequence[str]) -> str:
    """The estimators of a run in order, each with its details; k too where a swap changes nothing else."""
    if not details and any(a.estimator == b.estimator for a, b in pairwise(chain)):
        details = ("k",)
    return " → ".join(" ".join([run.label, *_told(run, details)]) for run in chain)


def _told(run: RunSpec, details: Sequence[str]) -> list[str]:
    values = {name: getattr(run, name) for name in details}
    return [f"{name}={value}" if name != "model" else value for name, value in values.items() if value is not None]
