from __future__ import annotations

import math

import naive_price as naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.admission import gain_rates
from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.price import price_for_volume
from decider_core.price_search import price_by_search, prices_tried
from tests.core.test_price import assembled, members

FLOATS = st.floats(0.0, math.inf, width=32)


@settings(deadline=None, max_examples=5 if INTERPRETED else 50)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_search_equals_the_exact_price_for_equal_costs(seed, budget):
    case = members(seed, 30, 1.0)
    path, gains = assembled(case, -np.inf)
    exact = price_for_volume(gain_rates(gains, path, case["cost"]), case["tie_keys"], budget)
    assert price_by_search(lambda p: int((assembled(case, p)[0] >= 0).sum()), budget) == exact


@settings(deadline=None, max_examples=5 if INTERPRETED else 50)
@given(st.integers(0, 2**32), st.integers(0, 60))
def test_search_certificate_for_unequal_costs(seed, budget):
    """The volume fits at theta, and at the next smaller float32 it does not."""
    case = members(seed, 30, None)

    def count_at(price):
        return int((assembled(case, price)[0] >= 0).sum())

    price = price_by_search(count_at, budget)
    assert price.n_above == count_at(price.theta) <= budget
    if price.theta > 0:
        assert count_at(np.nextafter(price.theta, np.float32(-np.inf))) > budget


@pytest.mark.parametrize("floor", [-2.0, 0.0])
def test_search_finds_the_smallest_float32_of_a_falling_volume(floor):
    steps = np.array([-1.5, -1e-45, 0.0, 1e-45, 0.1, 0.1, 7.0, 3e38, 3e38], np.float32)

    def count_at(price):
        return int((steps > price).sum())

    calls = []
    for budget in range(10):
        price = price_by_search(lambda p: calls.append(p) or count_at(p), budget, floor)
        assert price.theta == naive.smallest_price(
            count_at, budget, [np.float32(floor), *steps[steps > floor]]
        )
    assert len(calls) <= 10 * 34


@settings(deadline=None, max_examples=50 if INTERPRETED else 500)
@given(FLOATS, FLOATS, FLOATS, FLOATS)
def test_outside_a_range_a_search_that_ends_inside_tries_what_was_foretold(one, other, third, goal):
    floor, low, high = sorted((one, other, third))
    goal = min(max(goal, low), high)
    tried = set()

    def count_at(price):
        tried.add(price)
        return int(price < goal)

    assert price_by_search(count_at, 0, floor).theta == goal
    foretold = prices_tried(low, high, floor)
    assert foretold.dtype == np.float32
    assert {price for price in tried if not low <= price <= high} <= set(foretold.tolist())
    assert not ((foretold >= low) & (foretold <= high)).any()
    assert (foretold >= floor).all()
    assert foretold.size <= 64


@pytest.mark.parametrize(("low", "high", "floor"), [(1.2, 1.3, 0.0), (1.4, 1.6, 0.0), (0.5, math.inf, 0.25)])
def test_nothing_is_foretold_that_no_search_tries(low, high, floor):
    """Of ranges whose ends the search meets on its way to them: what goes out at these is asked for too."""
    tried = {floor, math.inf}
    for goal in np.linspace(low, min(high, 1e6), 40, dtype=np.float32)[1:-1]:
        price_by_search(lambda p, goal=goal: tried.add(p) or int(p < goal), 0, floor)
    ends = [np.nextafter(np.float32(low), np.float32(0)), np.float32(low), np.float32(high)]
    for goal in ends[1:]:
        price_by_search(lambda p, goal=goal: tried.add(p) or int(p < goal), 0, floor)
    assert {price for price in tried if not np.float32(low) <= price <= np.float32(high)} == set(
        prices_tried(low, high, floor).tolist()
    )


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: price_by_search(lambda _: 3, 2), "budget must be at least 3, which go out at any price"),
        (lambda: price_by_search(lambda _: 3, -2), "budget must be at least 0, got -2"),
        (lambda: prices_tried(1.0, 0.5), r"low must be in \[floor, high\], \[0.0, 0.5\], got 1.0"),
        (lambda: prices_tried(1.0, 2.0, 1.5), r"low must be in \[floor, high\], \[1.5, 2.0\], got 1.0"),
        (lambda: prices_tried(math.nan, 2.0), "got nan"),
    ],
)
def test_refuses(call, text):
    with pytest.raises(ContractError, match=text):
        call()
