"""Annealed importance sampling against models whose log p(x) is known, and the mistakes that spoil it quietly."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from iwae_core.evaluation.annealing import (
    AnnealingPath,
    Density,
    bidirectional,
    forward_log_weights,
    hmc,
    inverse_temperatures,
    leapfrog,
    reverse_log_weights,
    tune,
    visit,
)
from iwae_core.evaluation.evidence import simulated_evidence
from iwae_core.models import MODELS, Generative, Model, Recognition
from iwae_core.models.factors import Gaussian, StandardNormal
from iwae_core.models.networks import Affine

F64 = torch.float64

# Linear-Gaussian model: h ~ N(0, I), x | h ~ N(W h + mu, I / 2); log p(x) and the posterior follow in closed form.
W = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.6, -1.2]], dtype=F64)
MU = torch.tensor([0.1, -0.2, 0.3], dtype=F64)
X = torch.tensor([1.0, -0.5, 0.7], dtype=F64)
LOG_P = -3.5287505374
MEAN = torch.tensor([0.6325161582, 0.0074054533], dtype=F64)
COVARIANCE = torch.tensor([[0.2666340048, 0.0433398029], [0.0433398029, 0.1837230775]], dtype=F64)
# A start close enough to the posterior for weights of finite variance in both directions, but visibly wrong.
SHIFTED, VARIANCE = MEAN + torch.tensor([0.3, -0.2], dtype=F64), 0.2
# Uneven, so that a path walked in the wrong order is a different path.
UNEVEN = (0.0, 0.1, 0.5, 1.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(mean: Tensor | float, variance: float) -> Density:
    def log_density(h: Tensor) -> Tensor:
        return (-0.5 * (h - mean).square() / variance - 0.5 * math.log(2 * math.pi * variance)).sum(-1)

    return log_density


prior = gaussian(0.0, 1.0)
shifted = gaussian(SHIFTED, VARIANCE)


def joint(x: Tensor) -> Density:
    """log p(x, h) of the linear-Gaussian model."""
    return lambda h: prior(h) + gaussian(h @ W.to(h.dtype).T + MU.to(h.dtype), 0.5)(x.to(h.dtype))


def normal(*shape: int, dtype: torch.dtype = F64) -> Callable[[torch.Generator], Tensor]:
    return lambda randomness: torch.randn(*shape, dtype=dtype, generator=randomness)


def posterior(chains: int, batch: int, randomness: torch.Generator) -> Tensor:
    return MEAN + normal(chains, batch, 2)(randomness) @ torch.linalg.cholesky(COVARIANCE).T


def standard_errors(values: Tensor, expected: float) -> float:
    """How many standard errors the mean of independent values is from what was expected."""
    return abs(float((values.mean() - expected) / (values.std() / math.sqrt(values.numel()))))


def test_temperatures_ascend_from_exactly_0_to_exactly_1() -> None:
    assert inverse_temperatures(1) == (0.0, 1.0)
    # (sigmoid(-2) - sigmoid(-4)) / (sigmoid(4) - sigmoid(-4)) = (0.1192029220 - 0.0179862100) / 0.9640275801.
    assert inverse_temperatures(4) == pytest.approx((0.0, 0.1049935855, 0.5, 0.8950064145, 1.0), abs=1e-9)
    for count in (1, 2, 7, 300, 10_000):
        b = inverse_temperatures(count)
        assert (len(b), b[0], b[-1]) == (count + 1, 0.0, 1.0)
        assert all(here < there for here, there in pairwise(b))


@pytest.mark.parametrize("start", [prior, shifted])
def test_one_temperature_is_importance_sampling(start: Density) -> None:
    path = AnnealingPath(start, joint(X), inverse_temperatures(1))
    h, none = normal(5, 3, 2)(seeded(0)), torch.empty(0, 3, dtype=F64)
    expected = joint(X)(h) - start(h)
    torch.testing.assert_close(forward_log_weights(path, none, h, seeded(1)), expected)
    torch.testing.assert_close(reverse_log_weights(path, none, h, seeded(1)), expected)


def test_from_the_posterior_every_weight_is_p_of_x() -> None:
    precision = torch.linalg.inv(COVARIANCE)

    def exact(h: Tensor) -> Tensor:
        squares = torch.einsum("cbi,ij,cbj->cb", h - MEAN, precision, h - MEAN)
        return -0.5 * squares - math.log(2 * math.pi) + 0.5 * torch.logdet(precision)

    path, steps = AnnealingPath(exact, joint(X), UNEVEN), torch.full((2, 4), 0.5, dtype=F64)
    for direction in (forward_log_weights, reverse_log_weights):
        log_weights = direction(path, steps, posterior(6, 4, seeded(0)), seeded(1))
        torch.testing.assert_close(log_weights, torch.full_like(log_weights, LOG_P), atol=1e-8, rtol=0)


def test_leapfrog_is_reversible() -> None:
    path = AnnealingPath(prior, joint(X), UNEVEN, leapfrog_steps=7)
    point, momentum = visit(path, normal(3, 2, 2)(seeded(0))), normal(3, 2, 2)(seeded(1))
    steps = torch.full((3, 2, 1), 0.4, dtype=F64)
    there, final = leapfrog(path, point, momentum, 0.3, steps)
    assert (there.h - point.h).abs().min() > 0.01
    back, start = leapfrog(path, there, -final, 0.3, steps)
    torch.testing.assert_close(back.h, point.h)
    torch.testing.assert_close(-start, momentum)


def test_leapfrog_preserves_volume() -> None:
    # A target that is not Gaussian; the determinant of the map (h, momentum), by central differences, one per chain.
    path = AnnealingPath(prior, lambda h: prior(h) - h.pow(4).sum(-1) - h.prod(-1).sin(), UNEVEN, leapfrog_steps=3)
    state, width = normal(1, 4)(seeded(0)), 1e-5
    moved = torch.cat([state + width * torch.eye(4, dtype=F64), state - width * torch.eye(4, dtype=F64)])[:, None]
    steps = torch.full((8, 1, 1), 0.3, dtype=F64)
    point, final = leapfrog(path, visit(path, moved[..., :2]), moved[..., 2:], 0.6, steps)
    ahead, behind = torch.cat([point.h, final], -1)[:, 0].chunk(2)
    determinant = torch.linalg.det((ahead - behind) / (2 * width))
    assert float(determinant) == pytest.approx(1.0, abs=1e-7)


def test_the_energy_error_of_leapfrog_falls_with_the_square_of_the_step() -> None:
    def error(leapfrog_steps: int) -> Tensor:
        path = AnnealingPath(prior, joint(X), UNEVEN, leapfrog_steps)
        point, momentum = visit(path, normal(50, 1, 2)(seeded(0))), normal(50, 1, 2)(seeded(1))
        steps = torch.full((50, 1, 1), 0.7 / leapfrog_steps, dtype=F64)
        there, final = leapfrog(path, point, momentum, 0.8, steps)
        kinetic = 0.5 * (final.square() - momentum.square()).sum(-1)
        return (there.log_density(0.8) - point.log_density(0.8) - kinetic).abs().mean()

    assert float(error(10) / error(20)) == pytest.approx(4.0, rel=0.02)


def test_hmc_leaves_its_density_invariant() -> None:
    # Between N(0, 1) and N(1, 1/4), f_b is proportional to N(4b / (1 + 3b), 1 / (1 + 3b)).
    path, b, chains = AnnealingPath(prior, gaussian(1.0, 0.25), UNEVEN, leapfrog_steps=3), 0.4, 40_000
    mean, variance = 1.6 / 2.2, 1 / 2.2
    point = visit(path, mean + math.sqrt(variance) * normal(chains, 1, 1)(seeded(0)))
    for seed in range(1, 4):
        point, acceptance = hmc(path, point, b, torch.tensor([1.2], dtype=F64), seeded(seed))
    assert 0.5 < acceptance.mean() < 0.9
    assert standard_errors(point.h, mean) < 5
    assert standard_errors((point.h - mean).square(), variance) < 5


def test_weights_multiply_ratios_where_the_chain_is_before_it_moves() -> None:
    path, h = AnnealingPath(prior, joint(X), UNEVEN, leapfrog_steps=2), posterior(2, 3, seeded(0))
    steps = torch.tensor([[0.9], [0.4]], dtype=F64).expand(2, 3)

    def log_f(t: int, h: Tensor) -> Tensor:
        return (1 - UNEVEN[t]) * prior(h) + UNEVEN[t] * joint(X)(h)

    def visited(*kernels: int) -> list[Tensor]:
        points, randomness = [visit(path, h)], seeded(1)
        for t in kernels:
            points.append(hmc(path, points[-1], UNEVEN[t], steps[t - 1], randomness)[0])
        return [point.h for point in points]

    for direction, chain in ((forward_log_weights, visited(1, 2)), (reverse_log_weights, visited(2, 1)[::-1])):
        expected = sum(log_f(t, chain[t - 1]) - log_f(t - 1, chain[t - 1]) for t in (1, 2, 3))
        torch.testing.assert_close(direction(path, steps, h, seeded(1)), expected)


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_weights_are_unbiased_forward_and_their_inverses_in_reverse(step: float) -> None:
    # Few temperatures and long steps: every weight is far from p(x), and a third of the proposals are rejected.
    path = AnnealingPath(shifted, joint(X), UNEVEN, leapfrog_steps=2)
    steps = step * torch.tensor([[1.0], [0.6]], dtype=F64).expand(2, 20)
    start = SHIFTED + math.sqrt(VARIANCE) * normal(1000, 20, 2)(seeded(0))
    forward = forward_log_weights(path, steps, start, seeded(1)) - LOG_P
    reverse = reverse_log_weights(path, steps, posterior(1000, 20, seeded(2)), seeded(3)) - LOG_P
    assert forward.std() > 0.3
    assert standard_errors(forward.exp(), 1.0) < 5
    assert standard_errors((-reverse).exp(), 1.0) < 5


def test_the_bracket_holds_log_p_of_a_linear_gaussian_model() -> None:
    path = AnnealingPath(prior, joint(X), inverse_temperatures(150), leapfrog_steps=2)
    bracket = bidirectional(path, normal(16, 200, 2), posterior(16, 200, seeded(0)), seeded(1))
    for gap in (LOG_P - bracket.lower, bracket.upper - LOG_P):
        assert -4 * gap.std() / math.sqrt(200) < gap.mean() < 0.02


def test_the_bracket_holds_log_p_of_simulated_data_in_single_precision() -> None:
    # The h that gave x is the one posterior sample that all reverse chains share.
    randomness, data, chains = seeded(0), 300, 8
    h = normal(1, data, 2)(randomness)
    x = (h @ W.T + MU + math.sqrt(0.5) * normal(1, data, 3)(randomness))[0]
    log_p = torch.distributions.MultivariateNormal(MU, W @ W.T + 0.5 * torch.eye(3, dtype=F64)).log_prob(x)
    path = AnnealingPath(prior, joint(x), inverse_temperatures(60), leapfrog_steps=2)
    sample = normal(chains, data, 2, dtype=torch.float32)
    bracket = bidirectional(path, sample, h.float().expand(chains, -1, -1), randomness)
    for gap in (log_p - bracket.lower, bracket.upper - log_p):
        assert -4 * gap.std() / math.sqrt(data) < gap.mean() < 0.05


def test_the_bracket_holds_log_p_of_what_a_model_simulates() -> None:
    # One unit above two above three pixels, all of them Gaussian and each linear in the layer above.
    above, noise = torch.tensor([[0.8], [-0.5]], dtype=F64), torch.tensor(0.5, dtype=F64)
    zero, log_scale = torch.zeros(2, dtype=F64), 0.5 * noise.log()
    down = [Gaussian(2, Affine(above, zero, log_scale)), Gaussian(3, Affine(W, MU, log_scale))]
    up = [Gaussian(2, Affine(W.T / 3, zero, log_scale)), Gaussian(1, Affine(above.T / 2, zero[:1], log_scale))]
    model, reports = Model(Generative([StandardNormal(1), *down]), Recognition(up)), list[int]()
    x, bracket = simulated_evidence(model, 200, 4, 60, seed=0, report=reports.append)
    assert x.shape == (200, 3)
    assert not any(values.requires_grad for values in (x, *bracket))
    assert reports == list(range(1, 181))
    between = above @ above.T + noise * torch.eye(2, dtype=F64)
    covariance = W @ between @ W.T + noise * torch.eye(3, dtype=F64)
    log_p = torch.distributions.MultivariateNormal(MU, covariance).log_prob(x)
    for gap in (log_p - bracket.lower, bracket.upper - log_p):
        assert -4 * gap.std() / math.sqrt(200) < gap.mean() < 0.1
    assert not torch.equal(simulated_evidence(model, 200, 1, 1, seed=1).x, x)
    binary = MODELS["sbn_2"](torch.full((4,), 0.3), seeded(0))
    with pytest.raises(ValueError, match="needs continuous latent variables; got discrete ones"):
        simulated_evidence(binary, 2, 2, 2, seed=0)


def test_the_bracket_tightens_as_temperatures_are_added() -> None:
    gaps = []
    for count in (4, 16, 64):
        path = AnnealingPath(prior, joint(X), inverse_temperatures(count), leapfrog_steps=2)
        bracket = bidirectional(path, normal(1, 400, 2), posterior(1, 400, seeded(0)), seeded(1))
        gaps.append(torch.stack([LOG_P - bracket.lower.mean(), bracket.upper.mean() - LOG_P]))
    for looser, tighter in pairwise(gaps):
        assert (tighter > 0).all()
        assert (tighter < 0.7 * looser).all()


def bimodal(h: Tensor) -> Tensor:
    """h ~ N(0, 1), x | h ~ N(h^2, 1/4), at x = 2: modes at h = 1.33 and -1.33, log p(x) = -2.16932761 by quadrature."""
    return prior(h) + gaussian(h.square(), 0.25)(torch.tensor([2.0], dtype=h.dtype))


def test_both_modes_are_found_from_the_prior() -> None:
    # A chain that knows one mode only would miss half of p(x): log p(x) - log 2 = -2.8625.
    path = AnnealingPath(prior, bimodal, inverse_temperatures(100), leapfrog_steps=3)
    # Exact posterior draws by rejection; the reverse chains of a datum share one, so they all leave the same mode.
    proposals = normal(4000, 1, 1)(seeded(0))
    kept = torch.rand(4000, 1, dtype=F64, generator=seeded(1)).log() < -2 * (2 - proposals[..., 0].square()).square()
    h = proposals[kept][:100].T[..., None].expand(16, -1, -1)
    bracket = bidirectional(path, normal(16, 100, 1), h, seeded(2))
    for gap in (-2.16932761 - bracket.lower, bracket.upper + 2.16932761):
        assert -4 * gap.std() / 10 < gap.mean() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_chains_that_stand_still_have_the_weights_of_importance_sampling(dtype: torch.dtype) -> None:
    # With next to no step, a hundred increments add up to log p(x, h) - log start(h), in single precision too.
    def target(h: Tensor) -> Tensor:
        return joint(X)(h) - 9000

    path, steps = AnnealingPath(prior, target, inverse_temperatures(100), 1), torch.full((99, 3), 1e-30, dtype=dtype)
    h = normal(2, 3, 2, dtype=dtype)(seeded(0))
    expected = (target(h) - prior(h)).double()
    for direction in (forward_log_weights, reverse_log_weights):
        torch.testing.assert_close(direction(path, steps, h, seeded(1)), expected, atol=1e-9, rtol=0)


def infinite(h: Tensor) -> Tensor:
    """No density: of two such the ratio is not a number."""
    return prior(h) + math.inf


def half(h: Tensor) -> Tensor:
    """The prior times a likelihood that is 1 for h > 0 and 0 elsewhere."""
    return prior(h).masked_fill(h[..., 0] <= 0, -math.inf)


def test_impossible_latents_have_weight_zero() -> None:
    # p(x) = 1/2; what dies stays dead, and nothing becomes NaN.
    path, steps = AnnealingPath(prior, half, UNEVEN), torch.full((2, 1000), 1.5, dtype=F64)
    start = normal(2, 1000, 1)(seeded(0))
    forward = forward_log_weights(path, steps, start, seeded(1))
    torch.testing.assert_close(forward.exp(), (start[..., 0] > 0).double())
    # No reverse chain can reach h <= 0, so E 1/w < 1/p(x): above log p(x), as an upper bound should be.
    reverse = reverse_log_weights(path, steps, start.abs(), seeded(1))
    torch.testing.assert_close(reverse, torch.zeros_like(reverse))
    # A start that cannot produce the posterior's h bounds nothing from above.
    path = AnnealingPath(half, prior, UNEVEN)
    assert (reverse_log_weights(path, steps, -start.abs(), seeded(1)) == math.inf).all()
    assert tune(AnnealingPath(prior, half, UNEVEN), start, seeded(2)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_trajectories_that_diverge_are_rejected(dtype: torch.dtype) -> None:
    # The cubic force of a quartic overflows within a few long steps; distributions of torch refuse to see NaN.
    standard = torch.distributions.Normal(0.0, 1.0, validate_args=True)
    path = AnnealingPath(prior, lambda h: (standard.log_prob(h) - h.pow(4)).sum(-1), UNEVEN)
    point = visit(path, normal(6, 4, 3, dtype=dtype)(seeded(0)))
    stuck, acceptance = hmc(path, point, 0.5, torch.full((4,), 30.0, dtype=dtype), seeded(1))
    assert (acceptance == 0).all()
    assert all(torch.equal(after, before) for after, before in zip(stuck, point, strict=True))
    tuned = tune(path, normal(6, 4, 3, dtype=dtype)(seeded(2)), seeded(3))
    assert ((tuned > 0.1) & (tuned < 2)).all()


def test_tuning_fits_the_step_to_the_temperature_and_the_datum() -> None:
    # Posteriors of standard deviation 1 and 0.1 from a prior of 1; steps scale alike.
    scales = torch.tensor([1.0, 0.1], dtype=F64)

    def target(h: Tensor) -> Tensor:
        return -0.5 * (h / scales[:, None]).square().sum(-1)

    path, chains = AnnealingPath(prior, target, inverse_temperatures(40)), 64
    steps = tune(path, normal(chains, 2, 10)(seeded(0)), seeded(1))
    assert float(steps[-1, 0] / steps[-1, 1]) == pytest.approx(10, rel=0.3)
    for t in (0, 20, 38):
        b = path.inverse_temperatures[t + 1]
        point = visit(path, normal(2000, 2, 10)(seeded(2)) / (1 - b + b / scales.square()).sqrt()[:, None])
        _, acceptance = hmc(path, point, b, steps[t], seeded(3))
        assert acceptance.mean(0).tolist() == pytest.approx([0.65, 0.65], abs=0.12)


def test_weights_come_from_chains_that_did_not_tune() -> None:
    drawn = []

    def sample(randomness: torch.Generator) -> Tensor:
        drawn.append(normal(4, 3, 2)(randomness))
        return drawn[-1]

    path = AnnealingPath(prior, joint(X), inverse_temperatures(5), leapfrog_steps=1)
    bracket = bidirectional(path, sample, posterior(4, 3, seeded(0)), seeded(1))
    assert len(drawn) == 2
    assert not torch.isin(drawn[0], drawn[1]).any()
    # The posterior's sample must leave no trace in the step sizes, so the forward chains cannot know of it.
    other = bidirectional(path, normal(4, 3, 2), posterior(4, 3, seeded(2)), seeded(1))
    assert torch.equal(bracket.lower, other.lower)
    assert not torch.isin(bracket.upper, other.upper).any()


def test_every_temperature_is_reported() -> None:
    for count in (1, 2, 5):
        heard: list[int] = []
        path = AnnealingPath(prior, joint(X), inverse_temperatures(count), leapfrog_steps=1)
        bidirectional(path, normal(2, 3, 2), posterior(2, 3, seeded(0)), seeded(1), heard.append)
        assert heard == list(range(1, 3 * count + 1))


def test_no_graph_is_kept_and_parameters_get_no_gradient() -> None:
    weight = W.clone().requires_grad_()

    def target(h: Tensor) -> Tensor:
        return prior(h) + gaussian(h @ weight.T + MU, 0.5)(X)

    path = AnnealingPath(prior, target, UNEVEN, leapfrog_steps=1)
    with torch.no_grad():
        bracket = bidirectional(path, normal(2, 3, 2), posterior(2, 3, seeded(0)), seeded(1))
    reference = bidirectional(
        AnnealingPath(prior, joint(X), UNEVEN, 1), normal(2, 3, 2), posterior(2, 3, seeded(0)), seeded(1)
    )
    torch.testing.assert_close(bracket, reference)
    assert weight.grad is None
    h = posterior(2, 3, seeded(0))
    assert not any(field.requires_grad for field in (*bracket, *visit(path, h), h))


def test_what_makes_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match="a path of 0 temperatures leads nowhere"):
        inverse_temperatures(0)
    for bs in ((), (0.0,), (0.1, 1.0), (0.0, 0.9), (0.0, 0.5, 0.5, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="do not ascend from 0 to 1; use inverse_temperatures"):
            AnnealingPath(prior, joint(X), bs)
    with pytest.raises(ValueError, match="0 leapfrog steps do not move a chain"):
        AnnealingPath(prior, joint(X), UNEVEN, leapfrog_steps=0)


def test_chains_that_cannot_start_there_are_refused() -> None:
    path, h = AnnealingPath(prior, joint(X), UNEVEN), posterior(2, 3, seeded(0))
    steps = torch.ones(2, 3, dtype=F64)
    with pytest.raises(ValueError, match="1 rows of step sizes for 2 kernels; use tune"):
        forward_log_weights(path, steps[:1], h, seeded(1))
    h[1, 2, 0] = math.nan
    with pytest.raises(ValueError, match=r"1 of 6 chains start where .* a density is NaN"):
        forward_log_weights(path, steps, h, seeded(1))
    with pytest.raises(ValueError, match=r"6 of 6 chains start where .* a density is NaN"):
        forward_log_weights(AnnealingPath(infinite, infinite, UNEVEN), steps, posterior(2, 3, seeded(0)), seeded(1))
    h = -normal(2, 3, 1)(seeded(0)).abs()
    for direction, path in (
        (forward_log_weights, AnnealingPath(half, prior, UNEVEN)),
        (reverse_log_weights, AnnealingPath(prior, half, UNEVEN)),
    ):
        with pytest.raises(ValueError, match="6 of 6 chains start where the density they are drawn from is zero"):
            direction(path, steps, h, seeded(1))
