"""The price that meets a volume where costs are unequal: found by trying prices, in an order that can be foretold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from decider_core.compile import F32
from decider_core.contracts import ContractError
from decider_core.price import Price, _check_floor, _from_ordered, _to_ordered


def price_by_search(count_at: Callable[[float], int], budget: int, floor: float = 0.0) -> Price:
    """Return the smallest price at which at most `budget` messages go out, also where costs are unequal.

    Parameters
    ----------
    count_at
        Messages that go out at a price with ``tie_cut=0``, assembled again at that price.
    budget
        Messages that may go out.
    floor
        The least price, rounded to float32.

    Returns
    -------
    Price
        The floor if its volume fits. Else theta is a float32 whose volume fits while that of the next smaller
        float32 does not: the smallest whose volume fits, if the volume nowhere rises with the price.

    Raises
    ------
    ContractError
        If not even the price +inf fits: candidates of cost 0 go out at any price.

    Notes
    -----
    Bisection over the bits of float32: at most 33 calls after the first. With unequal costs the
    volume can rise with the price in places (a costly message gives way to a cheap one, which leaves room
    under another cap), and it can jump by more than one message; the price returned always fits the budget,
    and what it leaves unused is ``budget - n_above``.
    """
    if budget < 0:
        raise ContractError(f"budget must be at least 0, got {budget}")
    start = _check_floor(floor)
    n_above = int(count_at(float(start)))
    if n_above <= budget:
        return Price(start, np.uint64(0), n_above, 0)
    low, high = _to_ordered(start), _to_ordered(np.float32(np.inf))
    n_above = int(count_at(np.inf))
    if n_above > budget:
        raise ContractError(
            f"budget must be at least {n_above}, which go out at any price as they cost nothing, got {budget}"
        )
    while high - low > 1:
        middle = (low + high) // 2
        count = int(count_at(float(_from_ordered(middle))))
        if count <= budget:
            high, n_above = middle, count
        else:
            low = middle
    return Price(_from_ordered(high), np.uint64(0), n_above, 0)


def prices_tried(low: float, high: float, floor: float = 0.0) -> F32:
    """Return the prices outside ``[low, high]`` that a search tries which ends inside, f32[n_prices].

    Parameters
    ----------
    low, high
        As float32, `low` not below the floor.
    floor
        That of :func:`price_by_search`.

    Raises
    ------
    ContractError
        If the prices are not in the order ``floor <= low <= high``.

    Notes
    -----
    Whatever the counts, :func:`price_by_search` tries no other price outside, if it returns one between the two:
    those on the way to the range, some sixty at most. Who counts at all of these and at any price inside need count
    nowhere else.
    """
    start, lowest, highest = _check_floor(floor), np.float32(low), np.float32(high)
    if not start <= lowest <= highest:
        raise ContractError(f"low must be in [floor, high], [{start}, {highest}], got {lowest}")
    first, last = _to_ordered(lowest), _to_ordered(highest)
    ends = _to_ordered(start), _to_ordered(np.float32(np.inf))
    found = [end for end in ends if not first <= end <= last]
    # Stretches, the lower end left out, that hold what is returned: each is parted in its middle.
    stretches = [ends]
    while stretches:
        below, upper = stretches.pop()
        if upper < first or below >= last or upper - below <= 1:
            continue
        if below >= first - 1 and upper <= last + 1:
            continue
        middle = (below + upper) // 2
        if not first <= middle <= last:
            found.append(middle)
        stretches += [(below, middle), (middle, upper)]
    return np.array([_from_ordered(each) for each in sorted(found)], np.float32)
