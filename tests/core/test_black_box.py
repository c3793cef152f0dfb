"""The black box: any log p(x, h), any torch distribution q, against closed forms and against the model classes."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Beta,
    Distribution,
    ExpTransform,
    Gamma,
    Gumbel,
    Independent,
    MultivariateNormal,
    Normal,
    SigmoidTransform,
    Transform,
    TransformedDistribution,
    constraints,
)

from iwae_core.black_box import draw, paths
from iwae_core.bounds.lower import elbo, iwae_bound
from iwae_core.estimators import ESTIMATORS, accumulate_gradient
from iwae_core.models.toys import line, linear_gaussian


def randomness(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameter(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("a", [1.0, 0.5])
@pytest.mark.parametrize("k", [1, 5, 50])
def test_gamma_weights_have_the_closed_form_bound(a: float, k: int) -> None:
    # q = Gamma(a), posterior Gamma(a + 1): w = h / a, log p = 0, L_k = psi(k a) - log(k a), variance psi'(k a).
    q = Gamma(torch.full((40_000,), a, dtype=torch.float64), 1.0)
    draws = draw(lambda _, h: Gamma(a + 1, torch.tensor(1.0).double()).log_prob(h), q, None, k, randomness())
    bound, shape = iwae_bound(draws.log_weights), torch.tensor(k * a, dtype=torch.float64)
    standard_error = math.sqrt(float(torch.polygamma(1, shape)) / 40_000)
    assert float(bound.mean()) == pytest.approx(float(torch.digamma(shape) - shape.log()), abs=5 * standard_error)
    torch.testing.assert_close(draws.log_weights, (draws.h[0] / a).log())


def test_the_exact_posterior_as_q_leaves_no_variance_for_any_k() -> None:
    # Probabilistic PCA with its full-covariance posterior: every log w is log p(x), every path derivative zero.
    toy = linear_gaussian()
    weight, bias, log_scale = (value.detach() for value in toy.model.theta)
    precision = torch.eye(2).double() + weight.T @ weight / torch.exp(2 * log_scale)
    covariance = torch.linalg.inv(precision)
    mean = (covariance @ weight.T @ (toy.x[0] - bias) / torch.exp(2 * log_scale)).requires_grad_()
    assert mean.tolist() == pytest.approx([0.6325161582, 0.0074054533], abs=1e-10)
    factor = torch.linalg.cholesky(covariance).requires_grad_()

    def log_joint(x: Tensor, h: Tensor) -> Tensor:
        return toy.model.generative(x, (h,))

    log_p = torch.tensor(-3.5287505374, dtype=torch.float64)
    for k in (1, 7, 50):
        q = MultivariateNormal(mean, scale_tril=factor)
        draws = draw(log_joint, q, toy.x, k, randomness(k), "stopped_q")
        torch.testing.assert_close(draws.log_weights, log_p.expand(k, 1), atol=1e-9, rtol=0)
        for name in ("vae_path", "stl", "dreg", "rws_dreg"):
            phi = ESTIMATORS[name](draws).phi.sum()
            for found in torch.autograd.grad(phi, (mean, factor), retain_graph=True):
                assert float(found.abs().max()) < 1e-12


COMMON = ("reparameterized", "stopped_q", "score")


@pytest.mark.parametrize("name", [name for name, entry in ESTIMATORS.items() if entry.path in COMMON])
def test_gradients_equal_those_of_the_model_classes(name: str) -> None:
    # The same model both ways, on the samples that the black box drew.
    toy, estimator = line(), ESTIMATORS[name]
    mean, log_scale = (value.detach().clone().requires_grad_() for value in toy.model.phi)
    q = Independent(Normal(mean, log_scale.exp()), 1)
    draws = draw(lambda x, h: toy.model.generative(x, (h,)), q, toy.x, 6, randomness(), estimator.path)
    accumulate_gradient(estimator(draws), toy.model.theta, [mean, log_scale])
    theta = [value.grad.clone() for value in toy.model.theta if value.grad is not None]
    phi = [mean.grad, log_scale.grad]
    toy.model.zero_grad()
    noise = (draws.h[0].detach() - mean.detach()) / log_scale.detach().exp()
    accumulate_gradient(estimator(toy.model.draw(toy.x, (noise,), estimator.path)), toy.model.theta, toy.model.phi)
    for found, wanted in zip((*theta, *phi), toy.model.theta + toy.model.phi, strict=True):
        assert wanted.grad is not None
        torch.testing.assert_close(found, wanted.grad)


def test_the_sample_kept_follows_the_weights() -> None:
    # 20,000 data that share five samples: the choice alone differs.
    shared = parameter(-1.0, 0.0, 0.5, 1.0, 3.0)
    q = Normal(torch.zeros(20_000, dtype=torch.float64), 1.0)
    log_joint = lambda _, h: q.log_prob(h) + shared[:, None]  # noqa: E731
    draws = draw(log_joint, q, None, 5, randomness(), "one_sample")
    assert draws.kept is not None
    (share,) = torch.autograd.grad(draws.kept.mean(), shared)
    torch.testing.assert_close(share, torch.softmax(shared.detach(), 0), atol=5 * 0.5 / 20_000**0.5, rtol=0)


class Flow(Transform):
    """mean + scale h, and so a normal distribution; log scale and mean are wherever `keep` puts them."""

    domain = codomain = constraints.real
    bijective, sign = True, 1

    def __init__(
        self,
        keep: Callable[[Tensor, Tensor], object],
        read: Callable[[Any], tuple[Tensor, Tensor]],
        cache_size: int = 0,
    ) -> None:
        super().__init__(cache_size)
        self.read = read
        self.mean, self.log_scale = parameter(0.4).squeeze(), parameter(-0.3).squeeze()
        self.kept = keep(self.mean, self.log_scale)

    def _call(self, x: Tensor) -> Tensor:
        mean, log_scale = self.read(self.kept)
        return mean + log_scale.exp() * x

    def _inverse(self, y: Tensor) -> Tensor:
        mean, log_scale = self.read(self.kept)
        return (y - mean) * torch.exp(-log_scale)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.read(self.kept)[1].expand(x.shape)


class Kept(torch.nn.Module):
    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.both = torch.nn.Parameter(torch.stack([mean, log_scale]).detach())


def hidden_in() -> dict[str, tuple[Flow, Callable[[], list[Tensor]]]]:
    """Flows by where they keep their parameters, and how to get the gradients in mean and log scale."""
    flows = {
        "a tuple": Flow(lambda *both: both, lambda kept: kept),
        "a dictionary": Flow(lambda m, s: {"m": m, "s": s}, lambda kept: (kept["m"], kept["s"])),
        "a closure": Flow(lambda m, s: lambda: (m, s), lambda kept: kept()),
    }
    found = {name: (flow, lambda flow=flow: [flow.mean.grad, flow.log_scale.grad]) for name, flow in flows.items()}
    module = Flow(Kept, lambda kept: tuple(kept.both))
    return found | {"a module": (module, lambda: list(module.kept.both.grad))}


@pytest.mark.parametrize("name", ["vae_path", "stl", "dreg", "rws_dreg"])
@pytest.mark.parametrize("place", hidden_in())
def test_a_flow_to_a_normal_has_the_gradients_of_a_normal_wherever_it_keeps_its_parameters(
    place: str, name: str
) -> None:
    flow, gradients = hidden_in()[place]
    mean, log_scale = parameter(0.4), parameter(-0.3)

    def log_joint(x: Tensor, h: Tensor) -> Tensor:
        return Normal(-0.2, 0.5).log_prob(h)

    zero = torch.zeros(1, dtype=torch.float64)
    base = Normal(zero, zero + 1)
    phi = [flow.kept.both] if isinstance(flow.kept, Kept) else [flow.mean, flow.log_scale]
    for q, of_q in (TransformedDistribution(base, [flow]), phi), (Normal(mean, log_scale.exp()), [mean, log_scale]):
        draws = draw(log_joint, q, None, 6, randomness(), "stopped_q")
        accumulate_gradient(ESTIMATORS[name](draws), [], of_q)
    for found, wanted in zip(gradients(), (mean.grad, log_scale.grad), strict=True):
        assert wanted is not None
        torch.testing.assert_close(found, wanted[0])


def every_kind() -> dict[str, tuple[Distribution, list[Tensor]]]:
    a, b = parameter(0.3), parameter(0.7)
    normal = TransformedDistribution(Normal(a, b.exp()), [AffineTransform(a, b.exp(), cache_size=1), ExpTransform()])
    return {
        "normal": (Normal(a, b.exp()), [a, b]),
        "independent": (Independent(Normal(a.expand(1, 2), b.exp()), 1), [a, b]),
        "transformed": (normal, [a, b]),
        "cached": (TransformedDistribution(Normal(a, b.exp()), [AffineTransform(a, b.exp(), cache_size=1)]), [a, b]),
        "gamma": (Gamma(a, b), [a, b]),
        "gumbel": (Gumbel(a, b), [a, b]),
        "logit": (TransformedDistribution(Beta(a, b), [SigmoidTransform().inv]), [a, b]),
        "inverse": (TransformedDistribution(Normal(b * 0, 1.0), [AffineTransform(a, b.exp()).inv]), [a, b]),
    }


@pytest.mark.parametrize("kind", every_kind())
def test_stopped_q_leaves_the_value_and_the_way_through_the_samples(kind: str) -> None:
    q, parameters = every_kind()[kind]
    draws = draw(lambda _, h: torch.zeros(3, 1).double(), q, None, 3, randomness(), "stopped_q")
    h = draws.h[0].detach().requires_grad_()
    torch.testing.assert_close(draws.log_q, q.log_prob(h))
    (slope,) = torch.autograd.grad(q.log_prob(h).sum(), h)
    found = torch.autograd.grad(draws.log_q.sum(), parameters, retain_graph=True)
    wanted = torch.autograd.grad((slope * draws.h[0]).sum(), parameters)
    for part, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(part, expected)
        assert float(expected.abs()) > 0


def test_a_flow_that_cannot_be_inverted_says_so() -> None:
    class OneWay(Flow):
        def _inverse(self, y: Tensor) -> Tensor:
            raise NotImplementedError("no inverse")

    flow = OneWay(lambda *both: both, lambda kept: kept, cache_size=1)  # what it has drawn it need not invert
    q = TransformedDistribution(Normal(torch.zeros(1).double(), 1.0), [flow])
    assert draw(lambda _, h: -h.square(), q, None, 3, randomness()).log_weights.isfinite().all()
    with pytest.raises(NotImplementedError, match="no inverse"):
        draw(lambda _, h: -h.square(), q, None, 3, randomness(), "stopped_q")


def test_sampling_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    def log_joint(x: Tensor, h: Tensor) -> Tensor:
        return -0.5 * h.square()

    before = torch.get_rng_state()
    first, second, other = (
        draw(log_joint, Normal(parameter(0.0), 1.0), None, 4, randomness(seed)).h[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def refuse(log_joint: Callable[..., Tensor], q: Distribution, message: str, **settings: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(log_joint, q, None, 5, randomness(), **settings)  # type: ignore[arg-type]


def test_what_cannot_work_is_refused() -> None:
    def log_joint(x: Tensor, h: Tensor) -> Tensor:
        return -0.5 * h.square()

    discrete = Bernoulli(logits=parameter(0.2))
    assert paths(discrete) == ("score",)
    refuse(log_joint, discrete, "Bernoulli offers no path 'reparameterized'; choose from score")
    assert draw(log_joint, discrete, None, 5, randomness(), "score").log_weights.shape == (5, 1)
    refuse(log_joint, Normal(torch.zeros(2, 3), 1.0), r"batch shape \[batch\] or \[\]; got \[2, 3\]; use Independent")
    refuse(lambda x, h: h.sum(), Normal(parameter(0.0), 1.0), r"must return \[k, batch\] = \[5, 1\]; got \[\]")
    refuse(log_joint, Normal(parameter(0.0), 1.0), "offers no path 'sleep'", path="sleep")


def test_more_samples_bring_a_bayesian_posterior_closer() -> None:
    # A conjugate model of 20 numbers: mean ~ N(0, 1), data ~ N(mean, 1), q too wide; log p(data) in closed form.
    data = torch.randn(20, dtype=torch.float64, generator=randomness(3)) + 1

    def log_joint(x: Tensor, h: Tensor) -> Tensor:
        return Normal(0.0, 1.0).log_prob(h) + Normal(h[..., None], 1.0).log_prob(x).sum(-1)

    covariance = torch.eye(20).double() + 1
    exact = float(MultivariateNormal(torch.zeros(20).double(), covariance).log_prob(data))
    q = Normal(torch.full((500,), float(data.mean())).double(), 0.6)
    log_weights = draw(log_joint, q, data, 200, randomness()).log_weights
    assert float(elbo(log_weights).mean()) < exact - 0.5
    assert float(iwae_bound(log_weights).mean()) == pytest.approx(exact, abs=0.02)
