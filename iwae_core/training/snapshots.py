"""Everything an evaluation tells about each run, from the same held-out images and the same noise."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iwae_core.bounds.diagnostics import effective_sample_size
from iwae_core.bounds.weights import normalized_weights
from iwae_core.device import on_processor
from iwae_core.evaluation.activity import ACTIVE, active_units
from iwae_core.evaluation.held_out import SHOWN, bound_curves, evaluation_noise
from iwae_core.evaluation.plane import has_plane, latent_plane
from iwae_core.models import Model
from iwae_core.models.linear import closed_form
from iwae_core.randomness import generator
from iwae_core.training.events import Snapshot

DIGITS = 10  # held-out images that are shown
ACTIVITY_SAMPLES = 20  # a fiftieth of an ordinary evaluation's


def snapshot(
    step: int,
    models: Sequence[Model],
    x: Tensor,
    ks: Sequence[int],
    seed: int,
    each: Callable[..., Iterable[dict[str, NDArray[Any]]]] = map,
) -> Snapshot:
    """Evaluate every model on the images `[images, pixels]`; `each` maps a function over them, in parallel or not."""
    plane = any(map(has_plane, models))
    parts = list(each(partial(_evaluate, x=x, ks=ks, seed=seed, plane=plane), models))
    return Snapshot(step, **{name: np.stack([part[name] for part in parts]) for name in parts[0]})


@torch.no_grad()
def _evaluate(model: Model, x: Tensor, ks: Sequence[int], seed: int, plane: bool) -> dict[str, NDArray[Any]]:
    """One model's share of each array of the snapshot."""
    curves, shown = bound_curves(model, x, ks, seed), x[:DIGITS]
    model = on_processor(model)
    activity = torch.cat(active_units(model, x, ACTIVITY_SAMPLES, seed))
    known = closed_form(model, x)
    found: dict[str, NDArray[Any]] = {
        "iwae": _floats(curves.iwae),
        "elbo": _floats(curves.elbo),
        "samples": pictures(model.sample_prior(DIGITS, generator(seed, "samples"))),
        "reconstructions": pictures(model.reconstruct(shown, generator(seed, "reconstructions"))),
        "spread": _floats(curves.variance.mean(-1).sqrt()),
        "log_weights": _floats(curves.first[:, :DIGITS]),
        "active": np.array(int((activity > ACTIVE).sum()), np.int32),
        "units": np.array(len(activity), np.int32),
        "log_p": _floats(known.log_p if known else torch.full((len(x),), torch.nan)),
    }
    return found | (latent_plane(model, shown) | _coordinates(model, shown, ks, seed) if plane else {})


def _coordinates(model: Model, x: Tensor, ks: Sequence[int], seed: int) -> dict[str, NDArray[Any]]:
    """Where the samples with these log-weights lie."""
    count = min(SHOWN, max(ks))
    h = torch.full((count, len(x), 2), torch.nan)
    for image in range(len(x) if has_plane(model) else 0):
        noise = evaluation_noise(model, max(ks), seed, image)
        h[:, image] = model.recognition.sample(x[image : image + 1], (noise[0][:count],))[0][0][:, 0]
    return {"plane_samples": h.numpy().astype(np.float16)}


class Weighed(NamedTuple):
    """Of the samples of one digit: their normalised weights `[runs, samples]` and effective sample sizes `[runs]`."""

    weights: NDArray[np.float64]
    effective: NDArray[np.float64]


def weighed(snapshot: Snapshot, digit: int, samples: int) -> Weighed:
    """What the first samples of a digit weigh, as many of them as were kept."""
    log_weights = torch.tensor(snapshot.log_weights[:, :samples, digit], dtype=torch.float64).T
    return Weighed(normalized_weights(log_weights).T.numpy(), effective_sample_size(log_weights).numpy())


def pictures(means: Tensor) -> NDArray[np.uint8]:
    """Grey values; the mean of a pixel that is taken as a real number may lie outside [0, 1]."""
    return (means.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _floats(values: Tensor) -> NDArray[np.float32]:
    return values.float().numpy()
