"""The evaluation of a group of cells, image by image: it goes on where it was interrupted."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.data import DATASETS
from iwae_core.device import machine, training_device
from iwae_core.evaluation.activity import active_counts
from iwae_core.evaluation.estimate import estimate
from iwae_core.evaluation.held_out import log_weights
from iwae_core.models import Model
from iwae_core.training.loop import load_models
from iwae_core.training.process import prepare_process
from iwae_core.training.spec import ExperimentSpec
from iwae_lab.paper.cells import Cell
from iwae_lab.paper.groups import Group, home, reference
from iwae_lab.paper.results import Result
from iwae_lab.records.folder import SPEC, saved

VALUES = "evaluation.npz"
BOUNDS = {"iwae": iwae_bound, "elbo": elbo}
BLOCK = 100  # images between two times of saving
Arrays = dict[str, NDArray[Any]]


def values(folder: Path) -> Arrays | None:
    """L_k and the ELBO of each image and model, `[runs, images]`, and what is known with them; None before any."""
    if not (folder / VALUES).is_file():
        return None
    with np.load(folder / VALUES) as arrays:
        return dict(arrays)


def images_done(folder: Path, samples: int) -> int:
    """How many test images are evaluated with so many samples each."""
    found = values(folder)
    return found["iwae"].shape[1] if found and int(found["samples"]) == samples else 0


def is_evaluated(folder: Path, images: int, samples: int) -> bool:
    """Whether so many are, and active units are counted on as many."""
    found = values(folder)
    return found is not None and "active" in found and images_done(folder, samples) >= images


def evaluate(folder: Path, images: int, samples: int, until: float, report: Callable[[int], None]) -> bool:
    """Evaluate a trained group on test images, as many as can be before `until`; returns whether all are done.

    `report` hears how many are.
    """
    state = saved(folder)
    assert state is not None, f"{folder} is not trained"
    spec, models = load_models(state)
    found = values(folder)
    if found is None or int(found["samples"]) != samples:
        found = {name: np.empty((len(models), 0)) for name in BOUNDS}
        found |= {"seconds": np.array(0.0), "samples": np.array(samples)}
    x = DATASETS[spec.dataset]().held_out(spec.seed, max(images, found["iwae"].shape[1]))
    on_device = [model.to(training_device()) for model in models]
    with ThreadPoolExecutor(len(models), initializer=prepare_process) as threads:
        while (done := found["iwae"].shape[1]) < len(x):
            report(done)
            if time.monotonic() >= until:
                return False
            _save(folder, found := _with_block(found, on_device, x, spec.seed, threads))
    active = [active_counts(model.cpu(), x, spec.seed) for model in models]
    _save(folder, found | {"active": np.array(active), "machine": np.array(machine())})
    return True


def _with_block(found: Arrays, models: list[Model], x: Tensor, seed: int, threads: ThreadPoolExecutor) -> Arrays:
    """The values with those of the next images, every model on the same noise."""
    began, start, samples = time.monotonic(), found["iwae"].shape[1], int(found["samples"])
    part = x[start : start + BLOCK]
    weights = list(threads.map(lambda model: log_weights(model, part, samples, seed, start), models))
    more = {name: np.stack([bound(of_model).numpy() for of_model in weights]) for name, bound in BOUNDS.items()}
    joined = {name: np.concatenate([found[name], block], 1) for name, block in more.items()}
    known = {name: array for name, array in found.items() if name != "active"}  # which is of fewer images
    return known | joined | {"seconds": found["seconds"] + time.monotonic() - began}


def _save(folder: Path, found: Arrays) -> None:
    temporary = folder / f"{VALUES}.partial"
    with temporary.open("wb") as file:
        np.savez(file, **found)  # type: ignore[arg-type]
    temporary.replace(folder / VALUES)


def results(root: Path, group: Group, share: Fraction, seed: int) -> Iterator[Result]:
    """What the models of a group trained for this share achieve, if they are evaluated."""
    folder, spec = root / group.name, group.spec(share, seed)
    found, state = values(folder), saved(folder) if (folder / SPEC).is_file() else None
    if found is None or "active" not in found or state is None or ExperimentSpec.from_json(state["spec"]) != spec:
        return
    for run, cell in enumerate(group.cells):
        l_k, elbos = (estimate(found[name][run]) for name in BOUNDS)
        lead, lead_stderr = _lead(root, cell, found["iwae"][run], int(found["samples"]))
        yield Result(
            cell,
            -float(l_k.mean),
            float(l_k.stderr),
            float(elbos.mean),
            float(elbos.stderr),
            tuple(found["active"][run].tolist()),
            lead,
            lead_stderr,
            images=found["iwae"].shape[1],
            samples=int(found["samples"]),
            share=str(share),
            steps=spec.steps,
            seed=spec.seed,
            binarisation=spec.binarisation,
            seconds=float(state["seconds"]),
            evaluation_seconds=float(found["seconds"]),
            machine=str(found["machine"]),
        )


def _lead(root: Path, cell: Cell, l_k: NDArray[Any], samples: int) -> tuple[float, float] | tuple[None, None]:
    """How far the model is ahead of the one it is compared with, on the same images and noise, if that is known."""
    other = reference(cell)
    if other is None:
        return None, None
    group, run = home(other)
    found = values(root / group.name)
    if found is None or found["iwae"].shape[1] != len(l_k) or int(found["samples"]) != samples:
        return None, None
    lead = estimate(l_k - found["iwae"][run])
    return float(lead.mean), float(lead.stderr)
