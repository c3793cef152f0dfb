"""The price of a tight bound in a trained network, measured: `python -m iwae_lab.lessons.measured` writes the numbers.

Signal and noise are those of the whole gradient, of all parameters of the encoder or of the decoder together: the
length of its mean, and the root of its total variance, over repetitions with fresh noise on the ten shipped digits as
one minibatch. |mean|^2 over R repetitions is too large by the variance / R, which is subtracted. Takes some minutes.
"""

import json
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iwae_core.estimators import ESTIMATORS
from iwae_core.evaluation.estimate import Floats
from iwae_core.evaluation.signal import Moments, gradient_moments
from iwae_core.training.process import prepare_process
from iwae_lab.lessons.price import FORMS, Price, Signal, cost
from iwae_lab.shipped.manifest import manifest
from iwae_lab.shipped.models import digits, load

STORED = Path(__file__).parents[1] / "assets" / "signal.json"
MODEL = "iwae_k5"
MEASURED_KS = tuple(2**j for j in range(9))
BATCHES, PER_BATCH = 4, 40  # repetitions: each batch gives a ratio, and their spread the error


class Measured(NamedTuple):
    """Signals by estimator, the name of the model, and the relative standard errors of the ratios."""

    price: Price
    model: str
    repetitions: int
    errors: Floats


@cache
def measured(path: Path = STORED) -> Measured | None:
    """What was stored; None if nothing was, or it was measured on another model than the one that is shipped now."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if manifest().get(found.get("model", ""), {}).get("sha256", None) != found.get("sha256", ""):
        return None
    encoder, decoder = (
        {name: _signal(name, rows) for name, rows in found[part].items()} for part in ("encoder", "decoder")
    )
    rows = [row for part in ("encoder", "decoder") for rows in found[part].values() for row in rows]
    return Measured(Price(encoder, decoder), found["model"], found["repetitions"], np.array(rows)[:, 3])


def measure(
    model: str,
    names: Sequence[str],
    ks: Sequence[int],
    batches: int,
    per_batch: int,
    report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """What is stored: for both parts and each estimator a row [k, signal, noise, error] for each k."""
    network, x = deepcopy(load(model)).requires_grad_(), digits()
    parts: dict[str, dict[str, list[list[float]]]] = {"encoder": {}, "decoder": {}}
    for name in names:
        estimator, groups = ESTIMATORS[name], FORMS[name].encoder_repeats
        settings: dict[str, Any] = {"repeats": groups} if groups > 1 else {}
        for k in (k for k in ks if k >= max(estimator.least_k, groups)):
            report(f"{name}, k = {k}")
            found = [gradient_moments(network, estimator, x, k, per_batch, seed, **settings) for seed in range(batches)]
            for part, moments in zip(("decoder", "encoder"), zip(*found, strict=True), strict=True):
                values = [float(f"{value:.4g}") for value in summary(moments, per_batch)]
                parts[part].setdefault(name, []).append([k, *values])
    return {"model": model, "sha256": manifest()[model]["sha256"], "repetitions": batches * per_batch, **parts}


def summary(moments: Sequence[Moments], repeats: int) -> tuple[float, float, float]:
    """Length of the mean gradient, root of the total variance, and the relative standard error of their ratio."""
    variance = np.array([float(each.variance.sum()) for each in moments])
    square = np.array([float(each.mean.square().sum()) for each in moments]) - variance / repeats
    ratio = square.mean() / variance.mean()
    # The relative error of a root is half that of what is below it.
    error = float((square / variance).std(ddof=1) / len(moments) ** 0.5 / max(ratio, 1e-12) / 2)
    return max(float(square.mean()), 0.0) ** 0.5, float(variance.mean()) ** 0.5, error


def _signal(name: str, rows: Sequence[Sequence[float]]) -> Signal:
    ks, mean, noise, _ = np.array(rows, np.float64).T
    return Signal(ks, mean, noise**2, cost(name, ks))


def main(arguments: Sequence[str]) -> None:
    """Measure on the model named, or on `MODEL`, and store the result."""
    prepare_process()
    found = measure(next(iter(arguments), MODEL), tuple(FORMS), MEASURED_KS, BATCHES, PER_BATCH, print)
    STORED.write_text(json.dumps(found).replace("]], ", "]],\n") + "\n")  # a line for each estimator
    print(f"{STORED} is written")


if __name__ == "__main__":
    main(sys.argv[1:])
