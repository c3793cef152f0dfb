"""What a training run reports: floats and NumPy arrays, no tensors, so events can be stored, replayed and shared."""

import base64
import json
import zlib
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray


def _nothing() -> NDArray[Any]:
    return np.zeros(0)


@dataclass(frozen=True, eq=False)
class Started:
    """The experiment begins. `originals` are held-out images, uint8 `[digits, pixels]`, reconstructed in snapshots."""

    spec: str
    originals: NDArray[np.uint8]


@dataclass(frozen=True)
class Progress:
    """One training step: both bounds of every run on its own k samples, means over the minibatch in nats.

    `cost` is the processor time that each run took for it, in seconds; older logs have none. `kept` is the share of
    each run's rows that took part in its backward pass; empty where all did, as in older logs.
    """

    step: int
    elbo: tuple[float, ...]
    iwae: tuple[float, ...]
    cost: tuple[float, ...] = field(default=(), compare=False)
    kept: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An evaluation on held-out images, in nats for each image, and pictures of what each model learned.

    `iwae` is float32 `[runs, points, images]`, one point for each k of the spec's `eval_ks`; `elbo` is float32
    `[runs, images]`, the same at every k; `samples` and `reconstructions` are uint8 `[runs, digits, pixels]`.

    Of size zero in older logs:
    `spread` is the standard deviation of one k-sample estimate of a fixed image, root mean square over images, float32
    `[runs, 2, points]`: the minibatch ELBO's, then L_k's (NaN where k is too large for the samples to tell).
    `log_weights` are those of the first samples of each shown digit, float32 `[runs, samples, digits]`.
    `active` counts the active of all latent `units`, int32 `[runs]`.
    `log_p` is the exact log p(x), NaN where the model does not know it, float32 `[runs, images]`.

    Where some model has one layer of two latent units: `plane` is each digit's posterior density relative to its
    maximum, uint8 `[runs, digits, side, side]` with the first unit along the last axis, over the square `plane_box` of
    centre and half side, float32 `[runs, digits, 3]`; `plane_q` is q's mean and standard deviation, `[runs, digits, 2,
    2]`; `plane_samples` are the samples, float16 `[runs, samples, digits, 2]`. NaN for a run without such a plane.
    """

    step: int
    iwae: NDArray[np.float32]
    elbo: NDArray[np.float32]
    samples: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]
    spread: NDArray[np.float32] = field(default_factory=_nothing)
    log_weights: NDArray[np.float32] = field(default_factory=_nothing)
    active: NDArray[np.int32] = field(default_factory=_nothing)
    units: NDArray[np.int32] = field(default_factory=_nothing)
    log_p: NDArray[np.float32] = field(default_factory=_nothing)
    plane: NDArray[np.uint8] = field(default_factory=_nothing)
    plane_box: NDArray[np.float32] = field(default_factory=_nothing)
    plane_q: NDArray[np.float32] = field(default_factory=_nothing)
    plane_samples: NDArray[np.float16] = field(default_factory=_nothing)


@dataclass(frozen=True, eq=False)
class Closeup:
    """One training step seen slowly, for the first image of its minibatch: the samples before and after the update.

    `before` and `after` are log w of the same samples' noise, `pulls` what multiplies the theta-gradient of each before
    the update: float32 `[runs, samples]`, the first 50 of the `ks` samples of each run, NaN where it has fewer.
    `bounds` are the minibatch ELBO and the L_k estimate from all k samples, before and after, float32 `[runs, 2, 2]`.
    `image` is the observation, uint8 `[pixels]`, `decoded` what the first samples say it is, `[runs, pictures, pixels]`
    (blank where a run has fewer).
    """

    step: int
    ks: tuple[int, ...]
    image: NDArray[np.uint8]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    pulls: NDArray[np.float32]
    bounds: NDArray[np.float32]
    decoded: NDArray[np.uint8]


@dataclass(frozen=True)
class Swapped:
    """After `step` steps, run number `run` (from 0) goes on with another estimator and k, planned or on command."""

    step: int
    run: int
    estimator: str
    k: int


@dataclass(frozen=True)
class Finished:
    """The end, and why: all steps were made, time was up, nothing improved any more, or somebody pressed Stop."""

    step: int
    stopped: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Failed:
    """The end by an error, told in one sentence."""

    step: int
    message: str


Event: TypeAlias = Started | Progress | Snapshot | Closeup | Swapped | Finished | Failed
KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class Record:
    """An event in its log: its number, and the seconds of training (pauses excluded) before it."""

    number: int
    seconds: float
    event: Event


def encode(record: Record) -> str:
    """One line of JSON; arrays as compressed bytes."""
    event = record.event
    content = {f.name: _pack(getattr(event, f.name)) for f in fields(event)}
    return json.dumps({"number": record.number, "seconds": round(record.seconds, 4), type(event).__name__: content})


def decode(line: str) -> Record:
    """The record written by `encode`."""
    values = json.loads(line)
    number, seconds = values.pop("number"), values.pop("seconds")
    ((kind, content),) = values.items()
    return Record(number, seconds, KINDS[kind](**{name: _unpack(value) for name, value in content.items()}))


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": value.shape, "zlib": _compress(value)}
    return value


def _compress(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        content = zlib.decompress(base64.b64decode(value["zlib"]))
        return np.frombuffer(content, value["dtype"]).reshape(value["shape"])
    return tuple(value) if isinstance(value, list) else value
