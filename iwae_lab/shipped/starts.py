"""The shipped models as places where training may start."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from iwae_core.training.starts import STARTS
from iwae_lab.shipped.manifest import manifest, stages


def register() -> None:
    """Make every shipped model a start under its name."""
    for name, entry in manifest().items():
        spec = entry["spec"]
        network = "" if spec["model"] == "one_layer" else f" ({spec['model']})"
        trained = ", then ".join(f"{estimator.upper()} with k = {k}" for estimator, k in stages(spec))
        label = f"trained {trained}{network}"
        STARTS.register(name, label=label, model=spec["model"])(partial(_weights, name))


def _weights(name: str) -> Mapping[str, Any]:
    # Found when it is wanted: whoever only names a start does not wait for torch.
    weights: Mapping[str, Any] = import_module("iwae_lab.shipped.models").load(name).state_dict()
    return weights
