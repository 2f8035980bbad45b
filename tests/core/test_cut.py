from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decider_core.admission import gain_rates
from decider_core.assemble import assemble
from decider_core.contracts import ContractError
from decider_core.cut import Packed, cut_at_price, filled, priced_rates, spread
from tests.core.test_assemble import INTERPRETED, instance


def cut(case, price, where):
    path, gains = assemble(**case | {"price": np.full_like(case["price"], -np.inf)})
    cost, ties = float(case["cost"][0]), case["tie_keys"]
    found = cut_at_price(packed(path, gains), len(path), where, cost, price, case["tie_cut"], ties)
    empty = found.sets < 0
    assert np.isnan(found.mean[empty]).all()
    assert np.isnan(found.sd[empty]).all()
    np.testing.assert_array_equal(found.mean[~empty], 2 * found.gains[~empty])
    np.testing.assert_array_equal(found.sd[~empty], 3 * found.gains[~empty])
    expected = np.where(empty, np.float32(0), 4 * found.gains).sum(axis=0, dtype=np.float32)
    np.testing.assert_array_equal(found.expected, expected)
    return found.sets, found.gains


def packed(sets, gains):
    """Sets with numbers that tell where each comes from: mean, sd and mean gains are 2, 3 and 4 times the gains."""
    numbers = (filled(sets, np.float32(times) * gains) for times in (2, 3, 1, 4))
    return Packed((sets >= 0).sum(axis=0, dtype=np.uint8), filled(sets, sets), *numbers)


@settings(deadline=None, max_examples=30 if INTERPRETED else 300)
@given(st.integers(0, 2**32), st.sampled_from([-1.0, 0.0, 0.25, 0.3, 0.5, 2.0]))
def test_a_cut_gives_the_bits_of_assembly_at_the_price(seed, price):
    # Coarse values, so that many rates are exactly the price and the tie cut decides.
    case = instance(seed, equal_costs=True)
    case["cost"][:] = 0.5
    n_members = len(case["tie_keys"])
    sets, gains = assemble(**case | {"price": np.full_like(case["price"], price)})
    found, cut_gains = cut(case, price, np.ones(n_members, np.uint8))
    np.testing.assert_array_equal(found, sets)
    np.testing.assert_array_equal(cut_gains, gains)


def test_members_beside_keep_their_sets():
    case = instance(3, equal_costs=True)
    case["cost"][:] = 1.0
    where = (np.arange(len(case["tie_keys"])) % 2).astype(np.uint8)
    path, _ = assemble(**case | {"price": np.full_like(case["price"], -np.inf)})
    found, _ = cut(case, 1e9, where)
    np.testing.assert_array_equal(found[:, where == 0], path[:, where == 0])
    assert (found[:, where == 1] == -1).all()


def test_what_does_not_fit_is_refused():
    given = packed(np.zeros((2, 3), np.int16), np.zeros((2, 3), np.float32))
    where, keys = np.ones(3, np.uint8), np.zeros(3, np.uint64)
    with pytest.raises(ContractError, match=r"cost must be greater than 0, got 0\.0"):
        cut_at_price(given, 2, where, 0.0, 0.1, 0, keys)
    with pytest.raises(ContractError, match="where"):
        cut_at_price(given, 2, where[:2], 1.0, 0.1, 0, keys)
    with pytest.raises(ContractError, match="price"):
        cut_at_price(given, 2, where, 1.0, float("nan"), 0, keys)
    with pytest.raises(ContractError, match="count must be at most 1 and sum to 6"):
        cut_at_price(given, 1, where, 1.0, 0.1, 0, keys)
    with pytest.raises(ContractError, match="mean_gains"):
        cut_at_price(given._replace(mean_gains=given.mean_gains[:5]), 2, where, 1.0, 0.1, 0, keys)


def test_rates_are_those_of_the_messages_that_a_price_decides():
    case = instance(5, equal_costs=False)
    sets, gains = assemble(**case | {"price": np.full_like(case["price"], -np.inf)})
    where = (np.arange(sets.shape[1]) % 3 > 0).astype(np.uint8)
    all_rates = gain_rates(gains, sets, case["cost"])
    np.testing.assert_array_equal(
        priced_rates(sets, gains, where, case["cost"]), all_rates[(sets >= 0) & (where > 0)]
    )


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_is_filled_comes_back_to_its_place(dtype):
    rng = np.random.default_rng(1)
    count = rng.integers(0, 4, 50).astype(np.uint8)
    sets = np.where(np.arange(3)[:, None] < count, 5, -1).astype(np.int16)
    values = rng.integers(-90, 90, (3, 50)).astype(dtype)
    kept = filled(sets, values)
    np.testing.assert_array_equal(kept, values[sets >= 0])
    np.testing.assert_array_equal(spread(count, 3, kept, -1), np.where(sets >= 0, values, -1))
    with pytest.raises(ContractError, match="count must be at most 3 and sum to"):
        spread(count, 3, kept[1:], -1)
