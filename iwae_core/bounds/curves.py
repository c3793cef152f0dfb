"""Estimates of the bound L_m at many sizes m <= k from one set of k log-weights `[k, batch]`, in nats."""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_SUBSETS = 1000
BLOCK = 800  # data times sizes of one pass of `bound_curve`: some megabytes


def bound_curve(log_weights: Float[Tensor, "k batch"], smallest: int = 1) -> Float[Tensor, "sizes batch"]:
    """Unbiased estimates of L_m for m = smallest, ..., k from one set of k weights, each of the least variance.

    The row of m is the complete U-statistic, the average of log (1/m) sum_{i in S} w_i over all m-subsets S. It never
    decreases in m, draw by draw. Instead of visiting subsets it uses log s = int e^{-e^u} - e^{-s e^u} du under the
    average, which turns into the elementary symmetric means E_m of the x_i(u) = exp(-w_i e^u), and those obey

        E_m <- (n - m)/n E_m + m/n x_n E_{m-1}        as sample n joins.

    Positive terms only, so nothing cancels; the trapezoid rule on this integrand converges like e^{-pi^2 / step}.
    Cost O(k (k - smallest + 1) (37 + spread of the log-weights)) for each datum: affordable to k of about 1000 for the
    whole curve; see `nested_curve`. Data pass in blocks, so the memory does not grow with the batch.

    Raises:
        ValueError: smallest is not among 1, ..., k.
    """
    k = log_weights.shape[0]
    if not 1 <= smallest <= k:
        raise ValueError(f"the smallest size must be from 1 to k = {k}; got {smallest}")
    top = log_weights.amax(0).clamp(min=torch.finfo(log_weights.dtype).min)
    blocks = (log_weights - top).double().split(max(1, BLOCK // (k - smallest + 1)), 1)
    sizes = torch.arange(smallest, k + 1, dtype=torch.float64, device=top.device)[:, None]
    curve = torch.cat([_log_average(block, len(sizes)) for block in blocks], 1) - sizes.log()
    # Some m-subset holds nothing but zero weights as soon as there are m of them.
    curve = curve.masked_fill(sizes <= (log_weights == -math.inf).sum(0), -math.inf)
    return curve.to(log_weights.dtype) + top


def _log_average(centred: Float[Tensor, "k block"], count: int) -> Float[Tensor, "sizes block"]:
    """The average of log sum_{i in S} w_i over all m-subsets S, for the `count` largest m; the largest weight is 1."""
    k, step = len(centred), 0.3
    spread = -float(centred.masked_fill(centred == -math.inf, 0.0).amin())
    u = torch.arange(-32.0 - math.log(k), 4.5 + spread, step, dtype=torch.float64, device=centred.device)
    # Row d holds E_{n-d}: what misses `count` or more of the samples so far cannot grow into a size wanted.
    missing = torch.arange(count, dtype=torch.float64, device=u.device)[:, None, None]
    means = centred.new_zeros(count, centred.shape[1], len(u))
    means[0] = 1.0
    joined = torch.zeros_like(means)
    for n in range(1, k + 1):
        rows = min(n + 1, count)
        torch.mul(means[:rows], torch.exp(-torch.exp(u + centred[n - 1, :, None])), out=joined[:rows])
        joined[1:rows].lerp_(means[: rows - 1], missing[1:rows] / n)
        means, joined = joined, means
    return step * (torch.exp(-torch.exp(u)) - means.flip(0)).sum(-1)


def leave_one_out(log_weights: Float[Tensor, "k batch"]) -> Float[Tensor, "k batch"]:
    """For each sample the importance weighted bound of all others: row i is log (1/(k - 1)) sum_{j != i} w_j.

    O(k), differentiable, and right also where one weight outweighs the rest by any amount.

    Raises:
        ValueError: fewer than two samples.
    """
    k = log_weights.shape[0]
    if k < 2:
        raise ValueError(f"leaving one sample out needs at least 2; got {k}")
    # log w_total + log(1 - w~_i) has no digits left as w~_i nears 1, so the sum without the largest weight is formed.
    values, largest = log_weights.double(), log_weights.argmax(0, keepdim=True)
    others = torch.logsumexp(values.scatter(0, largest, -math.inf), 0, keepdim=True)
    total = torch.logsumexp(values, 0, keepdim=True)
    share = torch.exp(values - total.clamp(min=torch.finfo(values.dtype).min)).scatter(0, largest, 0.0)
    found = (total + torch.log1p(-share)).scatter(0, largest, others) - math.log(k - 1)
    return found.to(log_weights.dtype)


def nested_curve(log_weights: Float[Tensor, "k batch"], ks: Sequence[int]) -> Float[Tensor, "points batch"]:
    """Unbiased estimates of L_m for each m in `ks` from one set of k weights, in O(k) operations.

    An *anchor* is a size that divides every later one: at an anchor the k samples fall into disjoint blocks, each made
    of whole smaller blocks, and the bound is averaged over blocks. A size between two anchors a < m < b uses the
    complete U-statistic of the b/a cells of each block of b. Both are averages over balanced subsets of what the next
    size averages inside the log, so the curve never decreases, draw by draw, just as in the paper's Theorem 1. Without
    sizes between anchors this is the average over nested disjoint blocks; `nested_grid` makes good grids.

    Raises:
        ValueError: sizes that do not ascend, whose largest does not divide k, or with too many subsets between anchors.
    """
    anchors = _anchors(log_weights.shape[0], ks)
    cells, size, rows = log_weights, 1, []
    for m in ks:
        block = next(anchor for anchor in anchors if anchor >= m)
        blocks = cells.unflatten(0, (-1, block // size))
        if m == block:
            cells, size = torch.logsumexp(blocks, 1), block
            rows.append(cells.mean(0) - math.log(m))
        else:
            subsets = _subsets(block // size, m // size)
            rows.append(torch.logsumexp(blocks[:, subsets], 2).mean((0, 1)) - math.log(m))
    return torch.stack(rows)


def nested_grid(k: int) -> tuple[int, ...]:
    """Sizes from 1 to k for `nested_curve`: 1, 2, 5, 10, 20, 50, ... where k allows, else steps through its factors."""
    grid, anchor = [1], 1
    for ratio in _factors(k):
        grid += [j * anchor for j in (2, 5) if j < ratio and math.comb(ratio, j) <= MAX_SUBSETS]
        anchor *= ratio
        grid.append(anchor)
    return tuple(grid)


def _anchors(k: int, ks: Sequence[int]) -> list[int]:
    anchors = [m for i, m in enumerate(ks) if all(later % m == 0 for later in ks[i:])]
    if list(ks) != sorted(set(ks)) or not anchors or k % anchors[-1]:
        raise ValueError(f"sizes {list(ks)} do not nest in k = {k} samples; use nested_grid(k)")
    return anchors


def _subsets(cells: int, size: int) -> Tensor:
    if math.comb(cells, size) > MAX_SUBSETS:
        raise ValueError(f"{cells} cells have more than {MAX_SUBSETS} subsets of {size}; use nested_grid(k)")
    return torch.tensor(list(combinations(range(cells), size)))


def _factors(k: int) -> list[int]:
    """The prime factors of k, fives and twos first and in turn, so that their products read 1, 5, 10, 50, 100, ..."""
    primes, rest, divisor = [], k, 2
    while rest > 1:
        while rest % divisor == 0:
            primes.append(divisor)
            rest //= divisor
        divisor += 1
    fives, twos = primes.count(5), primes.count(2)
    paired = [5, 2] * min(fives, twos)
    return (
        paired
        + [5] * (fives - len(paired) // 2)
        + [2] * (twos - len(paired) // 2)
        + [p for p in primes if p not in (2, 5)]
    )
