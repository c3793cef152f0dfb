"""How much memory a training process takes: an estimate from the sizes of its networks, noise and minibatches."""

from bisect import bisect_right
from functools import cache, partial
from typing import NamedTuple

import torch

from iwae_core.data.mnist import PIXELS
from iwae_core.models import MODELS
from iwae_core.randomness import generator
from iwae_core.training.fields import SpecError
from iwae_core.training.run import ROWS
from iwae_core.training.spec import ExperimentSpec

# Measured on Linux with torch 2.13, MB of 1,000,000 bytes.
LOADING = 690.0  # at the moment at which the data are read
IDLE = 480.0  # afterwards, with two training threads
EVALUATED = 50  # images whose log-weights are held at once
FLOAT = 4


class _Sizes(NamedTuple):
    parameters: int
    outputs: int  # of all affine maps: each has a bias
    noise: int  # numbers that one sample of all latent variables is made of


@cache
def _sizes(model: str) -> _Sizes:
    built = MODELS[model](torch.full((PIXELS,), 0.5), generator(0, "init"))
    parameters = list(built.parameters())
    return _Sizes(
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.dim() == 1),
        sum(layer.units for layer in built.recognition.layers),
    )


def run_mb(model: str, k: int, batch_size: int, eval_k: int) -> float:
    """MB that one run adds to its process.

    Parameters with their gradients, Adam's moments and what a checkpoint copies; the noise of a whole minibatch; the
    activations of a micro-batch, each about four times (value, derivative, and what they are computed from); and the
    noise and log-weights of an evaluation.
    """
    sizes = _sizes(model)
    floats = (
        10 * sizes.parameters
        + k * batch_size * sizes.noise
        + 4 * max(k, ROWS) * sizes.outputs
        + eval_k * (sizes.noise + 4 * EVALUATED * 2)
    )
    return FLOAT * floats / 1e6


def process_mb(runs: float) -> float:
    """MB of a process whose runs add so many: most are taken while it loads its data, or while it trains."""
    return max(LOADING, IDLE + runs)


def memory_mb(spec: ExperimentSpec, batch_size: int | None = None) -> float:
    """About how many MB the process that trains an experiment takes at its peak, planned swaps included."""
    batch = batch_size or spec.batch_size
    stages = [spec, *map(spec.swapped, spec.swaps)]
    runs = (sum(run_mb(run.model, run.k, batch, spec.eval_k) for run in stage.runs) for stage in stages)
    return process_mb(max(runs))


def require_memory(spec: ExperimentSpec, allowed_mb: float) -> None:
    """Refuse an experiment that is too large for a machine.

    Raises:
        SpecError: it needs more; the message says how much smaller the minibatch has to be.
    """
    needed = memory_mb(spec)
    if needed <= allowed_mb:
        return
    fitting = bisect_right(range(1, spec.batch_size), allowed_mb, key=partial(memory_mb, spec))
    do = f"reduce k, or batch_size to at most {fitting:,}" if fitting else "reduce k, or train fewer runs at once"
    raise SpecError(
        f"this experiment needs about {needed:,.0f} MB of memory, and {allowed_mb:,.0f} MB are allowed; {do}"
    )
