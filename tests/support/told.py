"""Small experiments and what they tell."""

from dataclasses import replace

import numpy as np

from iwae_core.training.events import Event, Progress, Record, Snapshot, Started, Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec, Swap
from iwae_lab.history.history import History

QUICK = ExperimentSpec((RunSpec("vae", 2), RunSpec("iwae", 2)), batch_size=3, steps=4, eval_images=3, eval_k=5)
SWAPPING = replace(
    QUICK,
    runs=(RunSpec("ciwae", 4, beta=0.25), RunSpec("miwae", 4, "one_layer_2d", repeats=2)),
    schedule="burda",
    learning_rate=0.01,
    seed=7,
    swaps=(Swap(run=1, step=3, estimator="dreg", k=5), Swap(run=0, step=1, estimator="iwae", k=3)),
)
NO_OPTIONS = replace(QUICK, runs=(RunSpec("renyi", 2, alpha=0.5), RunSpec("renyi", 2, alpha=-1e-05)))


def told(spec: ExperimentSpec, *events: Event) -> History:
    """A history of these events, one each half a second."""
    first = Started(spec.to_json(), np.zeros((10, 784), np.uint8))
    return History(Record(number, number / 2, event) for number, event in enumerate([first, *events]))


def snapshot(spec: ExperimentSpec, step: int) -> Snapshot:
    """Numbers with all their digits in use."""
    rng = np.random.default_rng(step)
    shape = len(spec.runs), len(spec.eval_ks), spec.eval_images
    iwae, elbo = (rng.normal(-90, 20, size).astype(np.float32) for size in (shape, shape[::2]))
    digits = rng.integers(0, 256, (len(spec.runs), 10, 784), np.uint8)
    return Snapshot(step, iwae, elbo, digits, digits)


def small(spec: ExperimentSpec = QUICK, *ending: Event) -> History:
    """Evaluated before and after four steps; run 0 is swapped after two of them, on command."""
    steps = [Progress(i, (-100 - 1 / i, -90 / 7), (-90 - 1 / i, -8.1)) for i in range(1, 5)]
    swapped = Swapped(2, 0, "dreg", 3)
    return told(spec, snapshot(spec, 0), *steps[:2], swapped, *steps[2:], snapshot(spec, 4), *ending)


LOG_P = np.array([-90.5, -88.25, -87.0], np.float32)
LOG_WEIGHTS = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3) / 3 - 90  # runs, samples, shown digits


def telling(step: int) -> Snapshot:
    """An evaluation that tells everything; log p(x) of run 0 is not known, nor the spread of L_k at the largest k."""
    points = len(QUICK.eval_ks)
    spread = np.arange(2 * 2 * points, dtype=np.float32).reshape(2, 2, points) / 7 + step
    spread[:, 1, -1] = np.nan
    return replace(
        snapshot(QUICK, step),
        spread=spread,
        log_weights=LOG_WEIGHTS + step,
        active=np.array([3, 7 + step], np.int32),
        units=np.array([50, 60], np.int32),
        log_p=np.stack([np.full(3, np.nan, np.float32), LOG_P + step]),
    )
