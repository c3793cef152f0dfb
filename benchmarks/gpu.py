"""Training and evaluation on a GPU: `python -m benchmarks.gpu [DEVICE]`, by default the CUDA device.

The step is the one of `Run.step` without slices, on noise drawn on the device: written out launch by launch, and
captured once as a CUDA graph and replayed. Against both, the matrix products of the same shapes in float32.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.comparisons import CELLS
from benchmarks.contestants.core import linear_maps
from benchmarks.contestants.matmul import Product
from iwae_core.bounds.lower import iwae_bound
from iwae_core.data import DATASETS
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.models import MODELS, Model
from iwae_core.randomness import generator

WARM_UP, ROUNDS, STEPS = 5, 9, 20
EVALUATION = 20, 5000  # images, and samples of each


class Training:
    """A model on a device, and one step of its training on L_k; every step writes into the same memory."""

    def __init__(self, device: torch.device, batch: int, k: int) -> None:
        data = DATASETS["mnist"]()
        self.model: Model = MODELS["one_layer"](data.train_mean, generator(0, "init")).to(device)
        self.x = data.minibatch(0, 0, batch).to(device)
        self.noise = tuple(layer.to(device) for layer in self.model.noise(k, batch, generator(0, "noise")))
        graph = device.type == "cuda"
        self.optimiser = torch.optim.Adam(self.model.parameters(), 1e-3, eps=1e-4, fused=True, capturable=graph)
        self.bound = torch.zeros((), device=device)

    def step(self) -> None:
        """New noise, gradient, update; the bound stays on the device."""
        for layer in self.noise:
            layer.normal_()
        self.optimiser.zero_grad()
        draws = self.model.draw(self.x, self.noise)
        accumulate_gradient(ESTIMATORS["iwae"](draws), self.model.theta, self.model.phi, 1 / len(self.x))
        self.optimiser.step()
        self.bound.copy_(iwae_bound(draws.log_weights.detach()).mean())

    def captured(self) -> Callable[[], None]:
        """The same step as a graph. Warmed up on a side stream, as CUDA graphs want it."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay

    def products(self, k: int) -> list[Product]:
        """The matrix products of one step."""
        maps = [layer.weight.detach() for layer in linear_maps(self.model)]
        batch = len(self.x)
        encoder = [Product(weight, batch, to_input=weight is not maps[0]) for weight in maps[:4]]
        return encoder + [Product(weight, batch * k) for weight in maps[4:]]


def main(name: str = "cuda") -> None:
    """Print one JSON object: steps a second of each kind, medians over rounds, and the bound after them."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; `python -m benchmarks.gpu cpu` runs all but the graph")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else name
    rows = [measure(device, batch, k) for batch, k in (*CELLS, (100, 500))]
    result = {"device": where, "torch": torch.__version__, "training": rows, "evaluation": evaluation(device)}
    print(json.dumps(result, indent=1))


def measure(device: torch.device, batch: int, k: int) -> dict[str, float]:
    """One batch size and k."""
    training = Training(device, batch, k)
    result = {"batch": batch, "k": k, "eager": rate(training.step, device)}
    if device.type == "cuda":
        result["graph"] = rate(training.captured(), device)
    result["matrix products"] = rate(partial(multiply, training.products(k)), device)
    return result | {"bound": float(training.bound)}


def multiply(products: list[Product]) -> None:
    """Forward and backward."""
    for product in products:
        product.forward()
        product.backward()


@torch.no_grad()
def evaluation(device: torch.device) -> dict[str, float]:
    """Images a second at L_5000, noise drawn on the device, an image at a time."""
    images, samples = EVALUATION
    training = Training(device, images, 1)
    noise = tuple(torch.empty(samples, 1, layer.shape[-1], device=device) for layer in training.noise)
    bounds = torch.empty(images, device=device)

    def evaluate() -> None:
        for image in range(images):
            drawn: tuple[Tensor, ...] = tuple(layer.normal_() for layer in noise)
            weights = training.model.draw(training.x[image : image + 1], drawn).log_weights
            bounds[image] = iwae_bound(weights.double())[0]

    return {"samples": samples, "images a second": images * rate(evaluate, device, 1), "bound": float(bounds.mean())}


def rate(step: Callable[[], None], device: torch.device, steps: int = STEPS) -> float:
    """Calls a second, median over rounds, each timed until the device has finished."""
    for _ in range(WARM_UP if steps > 1 else 1):
        step()
    seconds = []
    for _ in range(ROUNDS):
        finish(device)
        begun = time.perf_counter()
        for _ in range(steps):
            step()
        finish(device)
        seconds.append((time.perf_counter() - begun) / steps)
    return 1 / median(seconds)


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
