"""The price that meets a volume, against NumPy's partition of all rates, on one thread in one run."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.timing import median_seconds
from decider_core.price import price_for_volume

SHAPES = [(1_000_000, None), (10_000_000, None), (1_000_000, 8)]


def rates_of(n: int, levels: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Falling rates of three places, a third of them empty; `levels` to the unit make ties."""
    g = np.random.default_rng(0)
    rates = -np.sort(-g.normal(0.0, 1.0, (3, n)).astype(np.float32), axis=0)
    if levels:
        rates = np.round(rates * levels) / np.float32(levels)
    rates[rates < -0.5] = np.nan
    return rates, np.arange(n, dtype=np.uint64) * np.uint64(16)


@pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda s: f"m{s[0]:.0e}-{'ties' if s[1] else 'distinct'}".replace("+0", "")
)
def test_price(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int | None]
) -> None:
    n, levels = shape
    rates, keys = rates_of(n, levels)
    budget = int(0.3 * n)

    def partition() -> np.float32:
        """The rate past the budget, and of those that tie at it the key past what is left of the budget."""
        found = rates[rates > 0]
        place = found.size - 1 - budget
        theta = np.partition(found, place)[place]
        n_tied = budget - np.count_nonzero(found > theta)
        if n_tied:
            tied = (keys | np.arange(3, dtype=np.uint64)[:, None])[rates == theta]
            np.partition(tied, n_tied)
        return theta

    def ours() -> np.float32:
        return price_for_volume(rates, keys, budget).theta

    assert ours() == partition()
    seconds, numpy_seconds = median_seconds(ours, partition)
    benchmark.pedantic(ours, rounds=3)
    figures = {"ns_per_member": seconds / n * 1e9, "times_numpy": numpy_seconds / seconds}
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nprice m{n:.0e} {'ties' if levels else 'distinct'}: "
            f"{figures['ns_per_member']:.1f} ns a member, {figures['times_numpy']:.1f} times NumPy"
        )
