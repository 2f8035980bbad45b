"""The price that meets a volume, against NumPy's partition of all rates, on one thread in one run."""

from __future__ import annotations

import pytest

from decider.bench.price import by_partition, instance, quantile, rates_of
from decider_core.price import price_for_volume

SHAPES = [(1_000_000, None), (10_000_000, None), (1_000_000, 8)]


@pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda s: f"m{s[0]:.0e}-{'ties' if s[1] else 'distinct'}".replace("+0", "")
)
def test_price(compare, shape: tuple[int, int | None]) -> None:
    n, levels = shape
    rates, keys = rates_of(n, levels)
    budget = int(0.3 * n)
    assert price_for_volume(rates, keys, budget).theta == by_partition(rates, keys, budget)()
    compare(quantile(n, levels))


def test_a_volume_is_as_good_as_the_linear_programme() -> None:
    members = instance(2_000, 1, equal_costs=True)
    budgets = members.some()
    best, _ = members.by_highs(budgets)
    assert members.by_volume(int(budgets[0])).gain == pytest.approx(best, rel=1e-9)
