"""A history that shows everything."""

import numpy as np

from iwae_core.training.events import Closeup, Event, Progress, Record, Snapshot, Started, Swapped
from iwae_core.training.spec import ExperimentSpec, RunSpec
from iwae_lab.figures import FIGURES
from iwae_lab.history.history import History
from iwae_lab.history.view import View

RUNS = (RunSpec("vae", 5), RunSpec("iwae", 5), RunSpec("iwae", 50))
SPEC = ExperimentSpec(runs=RUNS, eval_images=40, eval_k=100, steps=100, batch_size=10)
KS = np.array(SPEC.eval_ks)
SIDE, DIGITS, SHOWN = 5, 4, 50


def snapshot(step: int = 0, seed: int = 0) -> Snapshot:
    """Three runs; log p(x) of the second is known, and the third has no latent plane."""
    rng = np.random.default_rng(seed)
    iwae = -90 - 20 / np.sqrt(KS)[:, None] + rng.normal(0, 1, (3, 1, 40)) + np.arange(3)[:, None, None]
    spread = 3 / np.sqrt(KS) * np.ones((3, 2, 1))
    spread[:, 1, -1] = np.nan
    log_p = np.full((3, 40), np.nan)
    log_p[1] = -88.5 + rng.normal(0, 0.1, 40)
    plane_q = rng.normal(0, 1, (3, DIGITS, 2, 2)) ** 2
    plane_q[2] = np.nan
    digits = np.zeros((3, DIGITS, 784), np.uint8)
    return Snapshot(
        step,
        iwae.astype(np.float32),
        iwae[:, 0].astype(np.float32),
        digits,
        digits,
        spread=spread.astype(np.float32),
        log_weights=rng.normal(-90, 2, (3, SHOWN, DIGITS)).astype(np.float32),
        active=np.array([3, 4, 5], np.int32),
        units=np.array([50, 50, 50], np.int32),
        log_p=log_p.astype(np.float32),
        plane=rng.integers(0, 256, (3, DIGITS, SIDE, SIDE)).astype(np.uint8),
        plane_box=np.tile(np.array([1.0, -2.0, 0.5], np.float32), (3, DIGITS, 1)),
        plane_q=plane_q.astype(np.float32),
        plane_samples=rng.normal(0, 1, (3, SHOWN, DIGITS, 2)).astype(np.float16),
    )


def closeup() -> Closeup:
    rng = np.random.default_rng(1)
    before = rng.normal(-100, 5, (3, SHOWN)).astype(np.float32)
    pulls = np.full((3, SHOWN), 0.02, np.float32)
    before[:2, 5:] = pulls[:2, 5:] = np.nan
    bounds = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    image, decoded = np.zeros(784, np.uint8), np.zeros((3, 10, 784), np.uint8)
    return Closeup(8, (5, 5, 50), image, before, before + 1, pulls, bounds, decoded)


def history() -> History:
    events: list[Event] = [Started(SPEC.to_json(), np.zeros((DIGITS, 784), np.uint8)), snapshot()]
    events += [Progress(step, (-100.0,) * 3, (-95.0, -96.0, -97.0)) for step in range(1, 6)]
    events += [Swapped(5, 0, "iwae", 20), snapshot(5, seed=1)]
    events += [Progress(step, (-100.0,) * 3, (-95.0, -96.0, -97.0)) for step in range(6, 9)]
    return History(Record(number, 0.5 * number, event) for number, event in enumerate([*events, closeup()]))


def draw(name: str, view: View | None = None) -> dict[str, object]:
    """The figure's lines and markers by name, and its traces without a name under "rest"."""
    figure = FIGURES[name](history(), view or View())
    return {trace.name: trace for trace in figure.data if trace.name} | {"figure": figure}
