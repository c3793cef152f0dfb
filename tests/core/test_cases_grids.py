"""Grids of nodes and states: what sums over them integrate, and what is refused."""

from collections.abc import Callable

import pytest
import torch

from iwae_core.exact.cases import (
    binary_states,
    gamma_curve,
    gaussian_mismatch_law,
    standard_normal_grid,
)

# Grids


@pytest.mark.parametrize("dims", [1, 2])
def test_moments_of_the_grid(dims: int) -> None:
    nodes, log_prob = standard_normal_grid(dims)
    assert nodes.shape == (len(log_prob), dims)
    prob = log_prob.exp()
    for power, moment in enumerate([1, 0, 1, 0, 3, 0, 15, 0, 105]):
        assert (prob @ nodes[:, -1] ** power).item() == pytest.approx(moment, abs=1e-12)
    assert (prob @ nodes.prod(1)).item() == pytest.approx(0, abs=1e-14)


def test_reach_and_spacing_of_the_grid() -> None:
    nodes, log_prob = standard_normal_grid(1, reach=3, spacing=0.5)
    assert nodes[:, 0].tolist() == [0.5 * i for i in range(-6, 7)]
    assert (log_prob[6] - log_prob[0]).item() == pytest.approx(4.5)
    assert standard_normal_grid(1, reach=1, spacing=0.4)[0][:, 0].tolist() == pytest.approx(
        [0.4 * i for i in range(-3, 4)]
    )


def test_a_curve_of_no_points() -> None:
    assert [len(values) for values in gamma_curve(1, ())] == [0, 0]


def test_binary_states() -> None:
    assert binary_states(1).tolist() == [[0], [1]]
    assert binary_states(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    states = binary_states(10)
    assert states.shape == (1024, 10)
    assert (states @ 2.0 ** torch.arange(9, -1, -1).double()).tolist() == list(range(1024))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: standard_normal_grid(3), "1 or 2 dimensions; got 3"),
        (lambda: standard_normal_grid(1, spacing=0), "got reach = 10, spacing = 0"),
        (lambda: standard_normal_grid(1, reach=0), "got reach = 0, spacing"),
        (lambda: standard_normal_grid(1, reach=-1), "got reach = -1, spacing"),
        (lambda: gamma_curve(0, (1,)), "got a = 0, k = \\[1\\]"),
        (lambda: gamma_curve(1, (0, 1)), "got a = 1, k = \\[0, 1\\]"),
        (lambda: binary_states(0), "1 to 20 units; got 0"),
        (lambda: binary_states(21), "1 to 20 units; got 21"),
        (lambda: gaussian_mismatch_law(0), "got rho = 0, dims = 1"),
        (lambda: gaussian_mismatch_law(1, 0, 0), "got rho = 1, dims = 0"),
    ],
)
def test_what_is_no_law_or_grid_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
