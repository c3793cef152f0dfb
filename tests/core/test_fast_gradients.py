"""The gradients of a training step, much of whose derivatives is written by hand, against plain automatic ones."""

import gc
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

from iwae_core.draws import Draws, Path
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.models import MODELS, Model, Noise
from iwae_core.models.bernoulli import Rows, bernoulli_network_log_likelihood, parameters_of
from iwae_core.models.burda import gaussian_mlp
from iwae_core.models.factors import Gaussian, StandardNormal
from iwae_core.models.sigmoid_belief import sigmoid_belief
from iwae_core.randomness import generator
from iwae_core.training.run import Run
from iwae_core.training.spec import ExperimentSpec, RunSpec

PIXEL_MEANS = torch.linspace(0.1, 0.9, 12)
SIZES = {
    "one_layer": lambda r: gaussian_mlp(PIXEL_MEANS, r, units=(5,), hidden=(7,)),
    "two_layer": lambda r: gaussian_mlp(PIXEL_MEANS, r, units=(5, 3), hidden=(7, 6)),
    "sbn_1": lambda r: sigmoid_belief(PIXEL_MEANS, r, units=(5,)),
    "sbn_3": lambda r: sigmoid_belief(PIXEL_MEANS, r, units=(5, 4, 3)),
}


def randomness(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distribution(layer: nn.Module, given: Tensor | None, fixed: bool = False) -> torch.distributions.Distribution:
    """The factor as torch knows it, its parameters constants if `fixed`."""
    if isinstance(layer, StandardNormal):
        return Normal(torch.zeros(layer.units), torch.ones(layer.units))
    network = layer.network
    found = (
        torch.func.functional_call(network, {n: p.detach() for n, p in network.named_parameters()}, (given,))
        if fixed
        else network(given)
    )
    return Normal(found[0], found[1].exp()) if isinstance(layer, Gaussian) else Bernoulli(logits=found)


def plain_draws(model: Model, x: Tensor, noise: Noise, path: Path) -> Draws:
    """What `Model.draw` does for the paths whose samples are all kept, by definition."""
    h: list[Tensor] = []
    log_q, given = torch.zeros(noise[0].shape[:2]), x
    for layer, own in zip(model.recognition.layers, noise, strict=True):
        q = distribution(layer, given)
        value = q.loc + q.scale * own if isinstance(q, Normal) else (own < q.probs).to(own.dtype)  # type: ignore[attr-defined]
        value = value.detach() if path == "score" else value
        density = distribution(layer, given, fixed=path == "stopped_q")
        log_q = log_q + density.log_prob(value).sum(-1)
        h, given = [*h, value], value
    down = (None, *reversed(h))
    values = (*reversed(h), x.expand(len(noise[0]), -1, -1))
    log_p = sum(
        distribution(layer, above).log_prob(value).sum(-1)
        for layer, above, value in zip(model.generative.layers, down, values, strict=True)
    )
    return Draws(path, tuple(h), log_p, log_q)  # type: ignore[arg-type]


def gradients(model: Model, draws: Draws, estimator: str, **settings: float) -> list[Tensor]:
    for parameter in model.parameters():
        parameter.grad = None
    accumulate_gradient(ESTIMATORS[estimator](draws, **settings), model.theta, model.phi)
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


KEPT = [
    (model, name)
    for model in SIZES
    for name, entry in ESTIMATORS.items()
    if entry.path in {"reparameterized", "stopped_q", "score"} & set(MODELS[model].paths)
]


@pytest.mark.parametrize(("name", "estimator"), KEPT)
@pytest.mark.parametrize("k", [3, 20])
def test_every_gradient_is_that_of_the_plain_densities(name: str, estimator: str, k: int) -> None:
    # Initial weights are small; made larger, units saturate and every factor matters.
    model = SIZES[name](randomness(0)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, dtype=torch.float64, generator=randomness(1)), alpha=0.3)
    x = (torch.rand(4, 12, generator=randomness(2)) < 0.4).double()
    noise = model.noise(k, 4, randomness(3))
    path = ESTIMATORS[estimator].path
    fast, plain = model.draw(x, noise, path), plain_draws(model, x, noise, path)
    torch.testing.assert_close(fast.log_p, plain.log_p, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(fast.log_q, plain.log_q, rtol=1e-11, atol=1e-11)
    assert not (model.fused and path == "reparameterized" and fast.h[0].requires_grad), "there h is a constant"
    for found, wanted in zip(gradients(model, fast, estimator), gradients(model, plain, estimator), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("estimator", [e for name, e in KEPT if name == "one_layer"])
@pytest.mark.parametrize("rows", [1000, 12, 1])  # one slice; two, the second smaller; one for each image
def test_a_step_in_slices_is_the_plain_gradient(estimator: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_step(RunSpec(estimator, 4), rows, monkeypatch)


@pytest.mark.parametrize("spec", [RunSpec("renyi", 4, alpha=-1.0), RunSpec("ciwae", 4, beta=0.9)])
def test_a_step_follows_the_settings(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_step(spec, 12, monkeypatch)


def _check_step(run_spec: RunSpec, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iwae_core.training.run.ROWS", rows)
    spec = ExperimentSpec((replace(run_spec, backward="all"),), batch_size=5, steps=1)
    run = Run(spec.runs[0], spec, torch.full((784,), 0.13))
    run.model.double()
    x = (torch.rand(5, 784, generator=randomness(1)) < 0.13).double()
    noise = tuple(layer.double() for layer in run.model.noise(4, 5, generator(spec.seed, "noise", 7)))
    for _ in range(2):  # nothing is left of an earlier gradient
        bounds = run.gradient(x, 7)
    found = [5 * p.grad for p in run.model.parameters() if p.grad is not None]
    draws = plain_draws(run.model, x, noise, run.estimator.path)
    log_weights = draws.log_weights.detach()
    wanted_bounds = (float(log_weights.mean()), float((log_weights.logsumexp(0) - math.log(4)).mean()))
    assert bounds == pytest.approx(wanted_bounds, rel=1e-12)
    for ours, plain in zip(found, gradients(run.model, draws, run_spec.estimator, **run_spec.settings), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "estimator", "k"), [("one_layer", "iwae", 20), ("one_layer", "dreg", 3), ("sbn_2", "vimco", 20)]
)
def test_a_step_in_float32_follows_the_plain_one_in_float64_to_rounding(name: str, estimator: str, k: int) -> None:
    spec = ExperimentSpec(runs=(RunSpec(estimator, k, name),), batch_size=6, steps=1)
    run = Run(spec.runs[0], spec, torch.full((784,), 0.13))
    x = (torch.rand(6, 784, generator=randomness(1)) < 0.13).float()
    noise = run.model.noise(k, 6, randomness(2))
    path = run.estimator.path
    found = gradients(run.model, run.model.draw(x, noise, path), estimator)
    model = run.model.double()
    wanted = gradients(model, plain_draws(model, x.double(), tuple(layer.double() for layer in noise), path), estimator)
    for ours, exact in zip(found, wanted, strict=True):
        assert float((ours - exact).norm()) <= 2e-5 * float(exact.norm()) + 1e-12


def layers(widths: tuple[int, ...], scale: float = 1.0, dtype: torch.dtype = torch.float64) -> list[nn.Linear]:
    made = [nn.utils.skip_init(nn.Linear, a, b, dtype=dtype) for a, b in pairwise(widths)]
    with torch.no_grad():
        for i, parameter in enumerate(parameter for layer in made for parameter in layer.parameters()):
            parameter.copy_(scale * torch.randn(parameter.shape, generator=randomness(i)))
    return made


@pytest.mark.parametrize("widths", [(3, 8), (3, 7), (3, 9), (3, 4, 6), (2, 5, 3, 8)])
@pytest.mark.parametrize("k", [2, 9])
@pytest.mark.parametrize("block", [1000, 4, 1])  # all rows at once; a few samples of each of both images; one sample
@pytest.mark.parametrize("processor", ["cpu", "cuda"])  # with "cuda" this processor computes what a GPU would
def test_network_and_likelihood_together(
    widths: tuple[int, ...], k: int, block: int, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iwae_core.models.bernoulli.BLOCK", block)
    monkeypatch.setattr("iwae_core.models.bernoulli.PROCESSOR", torch.device(processor))
    made = layers(widths)
    parameters = [parameter for layer in made for parameter in layer.parameters()]
    x = (torch.rand(2, widths[-1], generator=randomness(8)) < 0.5).double()
    h = torch.randn(k, 2, widths[0], dtype=torch.float64, generator=randomness(9), requires_grad=True)

    def value(h: Tensor, *_: Tensor) -> Tensor:
        return bernoulli_network_log_likelihood(x, h, made)

    assert torch.autograd.gradcheck(value, (h, *parameters))
    every = bernoulli_network_log_likelihood(x.expand(k, -1, -1), h, made)
    torch.testing.assert_close(every, value(h))
    with torch.no_grad():
        torch.testing.assert_close(value(h), every)
    # Backward passes to h alone, then to the parameters alone, through one forward pass.
    cotangents = torch.randn(2, k, 2, dtype=torch.float64, generator=randomness(10))
    shared = value(h)
    for cotangent, inputs in zip(cotangents, ([h], parameters), strict=True):
        found = torch.autograd.grad(shared, inputs, cotangent, retain_graph=True)
        wanted = torch.autograd.grad(value(h), inputs, cotangent)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("widths", [(3, 8), (2, 5, 3, 8)])
@pytest.mark.parametrize("block", [1000, 4])
def test_a_backward_pass_through_some_rows_is_that_of_a_cotangent_of_zero_on_the_others(
    widths: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iwae_core.models.bernoulli.BLOCK", block)
    parameters = parameters_of(layers(widths))
    x = (torch.rand(2, widths[-1], generator=randomness(8)) < 0.5).double()
    h = torch.randn(5, 2, widths[0], dtype=torch.float64, generator=randomness(9))
    with torch.no_grad():
        every, some = Rows(x, h, parameters), Rows(x, h, parameters, some=True)
        torch.testing.assert_close(some.value, every.value)
        kept = torch.tensor([0, 3, 4, 9])
        cotangent = torch.zeros(10, dtype=torch.float64).index_fill_(0, kept, 0.7).view(5, 2)
        some.keep(kept)
        torch.testing.assert_close(some.in_h(cotangent), every.in_h(cotangent))
        torch.testing.assert_close(some.in_parameters(cotangent), every.in_parameters(cotangent))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_that_overflow_an_exponential(dtype: torch.dtype) -> None:
    (layer,) = layers((1, 4), dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [-1.0], [0.5], [0.0]]))
        layer.bias.zero_()
    x = torch.tensor([[0.0, 1.0, 1.0, 1.0]], dtype=dtype)
    h = torch.tensor([[[1.0]], [[2000.0]]], dtype=dtype, requires_grad=True)
    value = bernoulli_network_log_likelihood(x, h, [layer])
    softplus = [math.log1p(math.exp(1)), math.log1p(math.exp(-0.5)), math.log(2)]
    assert value[:, 0].tolist() == pytest.approx([-2 * softplus[0] - softplus[1] - softplus[2], -4000 - softplus[2]])
    value.sum().backward()
    assert h.grad is not None
    sigmoid = 1 / (1 + math.exp(-1))
    wanted = [-2 * sigmoid + 0.5 / (1 + math.exp(0.5)), -2.0]
    assert h.grad.flatten().tolist() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("flush", [False, True])
def test_a_value_alone_keeps_its_digits_where_a_product_of_eight_is_too_small(flush: bool) -> None:
    # 1 / (1 + e^l) of eight units multiplies to e^-80 to e^-110, and not all numbers so small have all bits.
    (layer,) = layers((1, 8), dtype=torch.float32)
    sizes = torch.arange(10, 13.75, 0.05).view(-1, 1, 1)
    torch.set_flush_denormal(flush)
    try:
        with torch.no_grad():
            layer.weight.fill_(1.0)
            layer.bias.zero_()
            x = torch.zeros(1, 8)
            value = torch.cat([bernoulli_network_log_likelihood(x, size[None], [layer]) for size in sizes])
    finally:
        torch.set_flush_denormal(False)
    torch.testing.assert_close(
        value, -8 * torch.nn.functional.softplus(sizes.double())[..., 0].float(), rtol=5e-7, atol=0
    )


def test_logits_far_below_zero_keep_their_digits() -> None:
    # The digits of a rarely lit pixel: 1 - sigmoid would round e^-18 to a multiple of 6e-8.
    (layer,) = layers((1, 784), dtype=torch.float32)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(-18.0)
    value = bernoulli_network_log_likelihood(torch.zeros(1, 784), torch.ones(2, 1, 1), [layer])
    value.sum().backward()
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, torch.full((784,), -2 * math.exp(-18)), rtol=1e-5, atol=0)
    assert value[:, 0].tolist() == pytest.approx([-784 * math.exp(-18)] * 2, abs=784 * 6e-8)


def tensors() -> int:
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_a_step_leaves_nothing_to_the_garbage_collector() -> None:
    # A cycle through a derivative written by hand would keep megabytes of each slice until the next collection.
    spec = ExperimentSpec(runs=(RunSpec("iwae", 5),), batch_size=4, steps=1)
    run = Run(spec.runs[0], spec, torch.full((784,), 0.13))
    run.step(torch.zeros(4, 784), 0)
    gc.collect()
    gc.disable()
    try:
        before = tensors()
        for step in range(1, 4):
            run.step(torch.zeros(4, 784), step)
        assert tensors() == before
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("size", "path"), [(size, path) for size in SIZES for path in SIZES[size](randomness(0)).paths]
)
def test_draws_that_nobody_needs_any_more_are_let_go(size: str, path: Path) -> None:
    # An output that its own derivative keeps can never be collected: 20 GB in half an hour, once.
    model = SIZES[size](randomness(0))
    x, before = torch.bernoulli(torch.full((3, 12), 0.5), generator=randomness(1)), 0
    for repeat in range(3):
        draws = model.draw(x, model.noise(4, 3, randomness(repeat)), path, randomness(repeat))
        value = draws.log_weights if draws.kept is None else draws.kept
        torch.autograd.grad(value.sum(), [*model.theta, *model.phi], allow_unused=True)
        del draws, value
        gc.collect()
        before = before or tensors()
    assert tensors() == before
