"""Trained models and ten digits that ship with the program, so that there is something to look at before any training.

A model is stored in as few bits as leave both of its bounds within `TOLERANCE` of what they were.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.data import Dataset
from iwae_core.data.dataset import binarise
from iwae_core.evaluation.estimate import Estimate
from iwae_core.evaluation.held_out import log_weights
from iwae_core.models import MODELS, Model
from iwae_core.randomness import generator
from iwae_core.training.spec import RunSpec
from iwae_lab.history.sweep import Point
from iwae_lab.shipped.manifest import MANIFEST, SHIPPED, manifest, names
from iwae_lab.shipped.packing import packed, unpacked

DIGITS = "digits.png"
TOLERANCE = 0.01  # nats, of the mean over images, with two standard errors of it
TRIAL = 100  # images, and samples of each, on which storing is tried
FEWEST_BITS, MOST_BITS = 8, 16


class PretrainedError(Exception):
    """There is no such shipped model, or its file is not the one that was shipped."""


@cache
def load(name: str, folder: Path = SHIPPED) -> Model:
    """A shipped model, ready to draw from; its parameters take no gradient. The same object at every call.

    Raises:
        PretrainedError: no model of this name, or its file is missing or altered.
    """
    entry = manifest(folder).get(name)
    if entry is None:
        raise PretrainedError(f"no model {name!r} is shipped; choose from {', '.join(names(folder=folder)) or 'none'}")
    try:
        content = (folder / entry["file"]).read_bytes()
    except OSError as error:
        raise PretrainedError(f"cannot read {folder / entry['file']}: {error.strerror}; ship {name} again") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise PretrainedError(f"{folder / entry['file']} is altered: its SHA-256 does not match; ship {name} again")
    return _built(entry["spec"]["model"], entry["pixels"], unpacked(content))


@cache
def digits(folder: Path = SHIPPED) -> Float[Tensor, "10 pixels"]:
    """One binarised test image of each class, 0 to 9."""
    sheet = np.asarray(Image.open(folder / DIGITS).convert("1"))
    return torch.from_numpy(np.stack(np.hsplit(sheet, 10)).reshape(10, -1)).float()


def choose_digits(data: Dataset, seed: int = 0) -> Float[Tensor, "10 pixels"]:
    """What `digits` holds: the first test image of each class, binarised once."""
    first = [int((data.test_labels == label).nonzero()[0]) for label in range(10)]
    return binarise(data.test[first], generator(seed, "shipped digits"))


def write_digits(x: Float[Tensor, "10 pixels"], folder: Path = SHIPPED, side: int = 28) -> None:
    """Keep the digits in one picture of black and white, side by side."""
    sheet = np.hstack(list((x.numpy() > 0).reshape(len(x), side, -1)))
    Image.fromarray(sheet).save(folder / DIGITS, optimize=True)


def ship(
    model: Model,
    spec: Mapping[str, Any],
    name: str,
    x: Float[Tensor, "images pixels"],
    measure: Callable[[Model], Mapping[str, Any]],
    folder: Path = SHIPPED,
) -> dict[str, Any]:
    """Store a trained model with as few bits as `TOLERANCE` allows, and enter it in the manifest; returns its entry.

    x are images to try the stored model on; `measure` tells the manifest what that model achieves.

    Raises:
        PretrainedError: even with the most bits a bound moves by more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for bits in range(FEWEST_BITS, MOST_BITS + 1):
        content = packed(model.state_dict(), bits)
        stored = _built(spec["model"], x.shape[1], unpacked(content))
        if (change := largest_change(model, stored, x[:TRIAL])) <= TOLERANCE:
            break
    else:
        raise PretrainedError(
            f"storing moves a bound by {change:.2g} nats, more than {TOLERANCE}; is it a trained model?"
        )
    entry = {
        "spec": dict(spec),
        "file": f"{name}.npz.xz",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bits": bits,
        "pixels": x.shape[1],
        **measure(stored),
    }
    (folder / entry["file"]).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest(folder) | {name: entry}, indent=1) + "\n")
    load.cache_clear()
    return entry


def largest_change(before: Model, after: Model, x: Float[Tensor, "images pixels"]) -> float:
    """How far L_1 or L_k of a model may have moved, in nats: the mean over images plus two standard errors."""
    weights = [log_weights(model, x, TRIAL, seed=0) for model in (before, after)]
    changes = [bound(weights[1]) - bound(weights[0]) for bound in (elbo, iwae_bound)]
    return max(float(change.mean().abs() + 2 * change.std() / len(x) ** 0.5) for change in changes)


def _built(network: str, pixels: int, state: Mapping[str, Tensor]) -> Model:
    model = MODELS[network](torch.full((pixels,), 0.5), torch.Generator())
    model.load_state_dict(state)
    return model.requires_grad_(False)


def shipped() -> list[Point]:
    """The shipped models with the paper's latent layer as a sweep; that with k = 1 is both the VAE and the IWAE.

    Only those trained longest: models of different ages do not compare.
    """
    entries = [manifest()[name] for name in names("one_layer")]
    longest, found = max((entry["step"] for entry in entries), default=0), []
    for entry in entries:
        spec = entry["spec"]
        if entry["step"] == longest:
            numbers = np.array([-entry["nll"], entry["nll_stderr"], entry["elbo"], entry["elbo_stderr"]])
            l_k, elbo = Estimate(*numbers[:2]), Estimate(*numbers[2:])
            estimators = ("vae", "iwae") if spec["k"] == 1 else (spec["estimator"],)
            found += [Point(RunSpec(name, spec["k"]), entry["step"], l_k, elbo) for name in estimators]
    return found
