"""What a price admits: gain per unit of cost, held against it in one function, :func:`is_admitted`."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.caps import LARGEST, check_sets
from decider_core.compile import F32, I16, as_f32, as_i32, inline, kernel
from decider_core.contracts import check_array, check_range

_NEVER: Final = np.float32(-np.inf)


def gain_rates(gains: F32, sets: I16, cost: F32) -> F32:
    """Return gain per unit of cost, f32[max_messages, n_members], NaN in empty places.

    It is the number that assembly compares with the price. With cost 0: +inf for a positive gain, else -inf.
    """
    gains = check_array("gains", gains, np.float32, (None, None))
    sets = check_array("sets", sets, np.int16, gains.shape)
    cost = check_array("cost", cost, np.float32, (None,))
    check_range("cost", cost, 0.0, LARGEST)
    check_sets(sets, cost.size)
    rates = np.empty(gains.shape, np.float32)
    _gain_rates(gains, sets, cost, rates)
    return rates


@kernel
def _gain_rates(gains: F32, sets: I16, cost: F32, rates: F32) -> None:
    for place in range(len(gains)):
        for r in range(gains.shape[1]):
            k = sets[place, r]
            rates[place, r] = rate_of(gains[place, r], cost[k]) if k >= 0 else np.float32(np.nan)


@inline
def rate_of(delta: np.float32, cost: np.float32) -> np.float32:
    """Return gain per unit of cost, one number of :func:`gain_rates`."""
    if cost > np.float32(0.0):
        return delta / cost
    return np.float32(np.inf) if delta > np.float32(0.0) else _NEVER


@inline
def is_admitted(delta: np.float32, cost: np.float32, price: np.float32, below_cut: bool) -> bool:
    """Return whether a gain is admitted at a price, or at exactly the price where its tie key is below the cut."""
    # The one place where a price decides. It compares the rounded rate, as the price is one of those rates.
    rate = rate_of(delta, cost)
    return bool((rate > price) | ((rate == price) & below_cut))


@inline
def charge_of(cost: np.float32, price: np.float32) -> np.float32:
    """Return what the order of candidates takes off a gain."""
    # 0*inf must not become NaN, and price -inf means: in the order of price 0.
    return np.float32(0.0) if (cost == np.float32(0.0)) | (price == _NEVER) else price * cost


@kernel
def least_admitted(cost: np.float32, price: np.float32, below_cut: bool) -> np.float32:
    """Return the least gain that :func:`is_admitted`."""
    # Bisection over the numbers in the order of their bits: what is admitted never ceases to be as the gain
    # grows. First between the neighbours of price*cost, where it is but for under- and overflow.
    near = _ordered(price * cost) if abs(price) < np.inf else np.int64(0)
    low, high = _ordered(np.float32(-LARGEST)) - 1, _ordered(np.float32(np.inf))
    if low < near - 4 and near + 4 < high:
        if is_admitted(_number(near + 4), cost, price, below_cut):
            high = near + 4
            if not is_admitted(_number(near - 4), cost, price, below_cut):
                low = near - 4
        else:
            low = near + 4
    while high - low > 1:
        middle = (low + high) >> 1
        if is_admitted(_number(middle), cost, price, below_cut):
            high = middle
        else:
            low = middle
    return _number(high)


@inline
def _ordered(number: np.float32) -> np.int64:
    # The bits as an integer that rises with the number; of the two zeros, 0.
    bits = np.int64(as_i32(number))
    return bits if bits >= 0 else np.int64(-0x80000000) - bits


@inline
def _number(ordered: np.int64) -> np.float32:
    return as_f32(np.int32(ordered if ordered >= 0 else np.int64(-0x80000000) - ordered))
