"""Random sets of up to three with exact propensities, against NumPy without caps, on one thread."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.timing import median_seconds
from decider_core.assemble import Caps
from decider_core.explore import explore_sets

SHARES = np.array([0.1, 0.4, 0.3, 0.2])
SHAPES = [(4096, 8), (100_000, 32), (4096, 128)]


def numpy_sets(weight: np.ndarray, reason: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Exponential clocks, the earliest three, and the sum over their orders; no caps, three eligible."""
    g = np.random.Generator(np.random.SFC64(seed))
    k, n = reason.shape
    open_weight = np.where(reason == 0, weight[:, None], 0.0)
    clock = g.standard_exponential((k, n))
    with np.errstate(divide="ignore"):
        clock /= open_weight
    first = np.argpartition(clock, 2, axis=0)[:3]
    picks = np.take_along_axis(first, np.argsort(np.take_along_axis(clock, first, axis=0), axis=0), axis=0)
    aim = np.searchsorted(np.cumsum(SHARES), g.random(n), side="right")
    total = open_weight.sum(axis=0)
    propensity = np.full(n, SHARES[0])
    for m in range(1, 4):
        who = np.flatnonzero(aim == m)
        w = weight[picks[:m, who]]
        orders = np.zeros(who.size)
        for order in itertools.permutations(range(m)):
            product, left = np.ones(who.size), total[who].copy()
            for j in order:
                product *= w[j] / left
                left -= w[j]
            orders += product
        propensity[who] = SHARES[m] * orders
    return np.where(np.arange(3)[:, None] < aim, picks, -1), propensity


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"m{shape[0]:.0e}-k{shape[1]}".replace("+0", ""))
def test_explore(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int]
) -> None:
    n, k = shape
    g = np.random.default_rng(0)
    weight = g.uniform(0.5, 2.0, k)
    reason = (g.random((k, n)) < 0.2).astype(np.uint8)
    reason[:3] = 0
    channel = np.zeros(k, np.int32)
    room = np.full((1, n), 3, np.int16)
    caps = Caps(channel, channel, room[0], room, room, 3)
    keys = np.arange(n, dtype=np.uint64), np.arange(k, dtype=np.uint64)

    def ours() -> tuple[np.ndarray, np.ndarray]:
        return explore_sets(1, 1, SHARES, weight, reason, caps, *keys)

    def theirs() -> tuple[np.ndarray, np.ndarray]:
        return numpy_sets(weight, reason, 1)

    # Both draw from one distribution: the mean sizes agree within six standard errors.
    sizes = [(sets >= 0).sum(axis=0).mean() for sets, _ in (ours(), theirs())]
    assert abs(sizes[0] - sizes[1]) < 6 / n**0.5
    seconds, numpy_seconds = median_seconds(ours, theirs)
    benchmark.pedantic(ours, rounds=3)
    figures = {"ns_per_member": seconds / n * 1e9, "times_numpy": numpy_seconds / seconds}
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nexplore m{n:.0e}-k{k}: {figures['ns_per_member']:.0f} ns a member, "
            f"{figures['times_numpy']:.1f} times NumPy"
        )
