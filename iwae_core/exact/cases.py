"""Laws of log-weights for `iwae_core.exact.law`: of any small model, and two with closed forms."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from iwae_core.exact.laplace import Nodes
from iwae_core.exact.law import ExactCurve, Law
from iwae_core.models import Model

SPACING = {1: 1 / 32, 2: 1 / 8}
MAX_UNITS = 20


class Grid(NamedTuple):
    """Nodes and the log of their probabilities, which sum to 1."""

    nodes: Float64[Tensor, "n dims"]
    log_prob: Nodes


def standard_normal_grid(dims: int, reach: int | float = 10, spacing: int | float | None = None) -> Grid:
    """Standard normal noise in one or two dimensions, for the trapezoid rule: the law of log w is log w at the nodes.

    The rule converges faster than any power of the spacing on smooth functions that vanish at both ends. How far: 10
    standard deviations leave out e^-50 of q, and of a posterior no wider than q; one that is c times wider, or off
    centre, needs c times the reach, or so much more. How fine: if log w changes by no more than 1 from node to node
    wherever k samples may fall, L_k is right to 1e-10. The default, 1/32, or 1/8 in two dimensions, does for slopes
    up to 32, or 8; twice the slope needs half the spacing.

    Raises:
        ValueError: other than one or two dimensions; reach or spacing not positive.
    """
    if dims not in SPACING:
        raise ValueError(f"a grid has 1 or 2 dimensions; got {dims}: more nodes than can be visited")
    spacing = SPACING[dims] if spacing is None else spacing
    if not (reach > 0 and spacing > 0):
        raise ValueError(f"reach and spacing are positive; got reach = {reach}, spacing = {spacing}")
    axis, log_prob = _normal_axis(reach, spacing)
    if dims == 1:
        return Grid(axis[:, None], log_prob)
    return Grid(torch.cartesian_prod(axis, axis), (log_prob[:, None] + log_prob).flatten())


def binary_states(units: int) -> Float64[Tensor, "states units"]:
    """All 2^units states of binary units, in the order of binary numbers: 00, 01, 10, 11.

    Raises:
        ValueError: no unit, or more than 20 (a million states).
    """
    if not 1 <= units <= MAX_UNITS:
        raise ValueError(f"states are listed for 1 to {MAX_UNITS} units; got {units}")
    powers = 2 ** torch.arange(units - 1, -1, -1)
    return (torch.arange(2**units)[:, None] // powers % 2).double()


def gaussian_mismatch_law(rho: int | float, shift: int | float = 0, dims: int = 1) -> Law:
    """The law of log w / p(x) if the posterior is N(m, v I) and q is N(m + s, rho v I), with shift = |s| / sqrt(v):

        log w / p(x) = dims/2 log rho - |s / sqrt(v) + sqrt(rho) e|^2 / 2 + |e|^2 / 2,    e standard normal.

    Only the part of e along the shift and the length of the rest matter, so any number of dimensions takes a grid of
    at most two; without a shift one chi-squared variable is enough. Accurate to 1e-9 for rho from 1/4 to 4, a shift up
    to 3 and up to 100 dimensions; the second moment, for `chi_squared`, from rho = 0.6 on. For rho <= 1/2 the weights
    have infinite variance.

    Raises:
        ValueError: rho not positive, or fewer than one dimension.
    """
    if not rho > 0 or dims < 1:
        raise ValueError(f"rho is positive and dims at least 1; got rho = {rho}, dims = {dims}")
    root, slope = math.sqrt(rho), abs(1 - rho)
    # In units of q the posterior is 1 / root wide and shift / root off centre.
    reach = (10 + abs(shift)) / min(root, 1)
    if 0.6 <= rho < 1:  # w^2 q is wider still, and as far off centre on the other side
        reach = max(reach, 10 / math.sqrt(2 * rho - 1) + 2 * root * abs(shift) / (2 * rho - 1))
    straight = shift != 0 or dims == 1
    along, prob_along = _normal_axis(reach, 1 / max(8, 4 * slope + abs(shift) * root)) if straight else _POINT
    far = reach + math.sqrt(dims) / min(root, 1)
    rest, prob_rest = _chi_squared_axis(dims - straight, far, 1 / max(8, (3 + math.sqrt(dims)) * slope))
    log_weights = dims / 2 * math.log(rho) - (shift + root * along) ** 2 / 2 + along**2 / 2
    return Law((log_weights[:, None] + (1 - rho) / 2 * rest).flatten(), (prob_along[:, None] + prob_rest).flatten())


def gaussian_mismatch_chi_squared(rho: int | float, shift: int | float = 0, dims: int = 1) -> float:
    """Its chi^2: (rho / sqrt(2 rho - 1))^dims e^{shift^2 / (2 rho - 1)} - 1; inf for rho <= 1/2, or past 1e308."""
    excess = 2 * rho - 1
    log_square = dims * (math.log(rho) - math.log(excess) / 2) + shift**2 / excess if excess > 0 else math.inf
    return math.expm1(log_square) if log_square < 709 else math.inf


def gamma_curve(a: int | float, ks: Sequence[int]) -> ExactCurve:
    """L_k - log p = psi(ka) - log(ka), and variance psi'(ka), for weights of Gamma(a) law: chi^2 = 1/a, in closed form.

    At a = 1 it is the model q(h) = U(0, 1), p(x, h) = -log h.

    Raises:
        ValueError: a not positive, or a k below 1.
    """
    if not a > 0 or min(ks, default=1) < 1:
        raise ValueError(f"a is positive and each k at least 1; got a = {a}, k = {list(ks)}")
    shape = a * torch.tensor(ks, dtype=torch.float64)
    # psi'(s) = 1/s^2 + psi'(s + 1): torch's series is good to 1e-9 for small s, to rounding from 30 on.
    terms = 1 / (shape[:, None] + torch.arange(30)).square()
    return ExactCurve(torch.digamma(shape) - shape.log(), terms.sum(1) + torch.polygamma(1, shape + 30))


def model_law(model: Model, x: Float64[Tensor, "1 pixels"]) -> Law:
    """The law of log w of a small model in float64: all states of binary units, or a grid over Gaussian noise.

    Differentiable in theta and phi, so `exact_bound` of it gives the exact gradient of L_k.

    Raises:
        ValueError: more than 20 binary units, or more than two Gaussian ones, in all layers together.
    """
    units = [layer.units for layer in model.recognition.layers]
    if "reparameterized" in model.paths:
        noise, log_prob = standard_normal_grid(sum(units))
    else:
        noise, log_prob = 1 - binary_states(sum(units)), None  # a unit is 1 where its noise is below its probability
    draws = model.draw(x, tuple(layer[:, None] for layer in noise.split(units, -1)))
    return Law(draws.log_weights[:, 0], draws.log_q[:, 0] if log_prob is None else log_prob)


_POINT = (torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))


def _normal_axis(reach: int | float, spacing: int | float) -> tuple[Nodes, Nodes]:
    half = math.ceil(reach / spacing)
    axis = spacing * torch.arange(-half, half + 1, dtype=torch.float64)
    return axis, torch.log_softmax(-axis.square() / 2, 0)


def _chi_squared_axis(freedom: int, reach: int | float, spacing: int | float) -> tuple[Nodes, Nodes]:
    """The square of a radius log(1 + e^y), y evenly spaced: the density of y is smooth and vanishes at both ends."""
    if freedom == 0:
        return _POINT
    y = torch.arange(-36 / freedom, reach, spacing, dtype=torch.float64)
    radius = torch.logaddexp(y, torch.zeros_like(y))
    log_density = (freedom - 1) * radius.log() - radius.square() / 2 + torch.nn.functional.logsigmoid(y)
    return radius.square(), torch.log_softmax(log_density, 0)
