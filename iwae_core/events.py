"""What a training run reports: floats and NumPy arrays, no tensors, so events can be stored, replayed and shared."""

import base64
import json
import zlib
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Started:
    """The experiment begins. `originals` are held-out digits, uint8 `[digits, pixels]`, reconstructed in snapshots."""

    spec: str
    originals: NDArray[np.uint8]


@dataclass(frozen=True)
class Progress:
    """One training step: both bounds of every run on its own k samples, means over the minibatch in nats."""

    step: int
    elbo: tuple[float, ...]
    iwae: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An evaluation on held-out digits, in nats for each image, and pictures of what each model learned.

    `iwae` is float32 `[runs, points, images]`, one point for each k of the spec's `eval_ks`; `elbo` is float32
    `[runs, images]`, the same at every k; `samples` and `reconstructions` are uint8 `[runs, digits, pixels]`.
    """

    step: int
    iwae: NDArray[np.float32]
    elbo: NDArray[np.float32]
    samples: NDArray[np.uint8]
    reconstructions: NDArray[np.uint8]


@dataclass(frozen=True)
class Swapped:
    """After `step` steps, run number `run` (from 0) goes on with another estimator and k, planned or on command."""

    step: int
    run: int
    estimator: str
    k: int


@dataclass(frozen=True)
class Finished:
    """The end: all steps were made, or somebody pressed Stop."""

    step: int
    stopped: bool = False


@dataclass(frozen=True)
class Failed:
    """The end by an error, told in one sentence."""

    step: int
    message: str


Event: TypeAlias = Started | Progress | Snapshot | Swapped | Finished | Failed
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
