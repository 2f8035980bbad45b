"""Sets that were assembled at one price, as they are at a higher one, where all candidates cost the same.

The order of assembly does not depend on the price then, and nothing is admitted after something was not: a set at a
higher price is the beginning of the set at a lower one.
"""

from __future__ import annotations

import numpy as np

from decider_core.assemble import _admitted
from decider_core.caps import check_sets
from decider_core.compile import F32, I16, U8, U64, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_output


def cut_at_price(
    sets: I16,
    gains: F32,
    where: U8,
    cost: float,
    price: float,
    tie_cut: int | np.uint64,
    tie_keys: U64,
) -> None:
    """Cut sets where their messages cease to be admitted: the bits that assembly at this price gives.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Written: assembled at no higher a price. An empty place is followed by empty places only.
    gains : f32[max_messages, n_members]
        Written: their marginal gains, NaN in empty places.
    where : u8[n_members]
        0 leaves a member's set as it is.
    cost
        Of every candidate, > 0.
    price, tie_cut, tie_keys
        As of :func:`decider_core.assemble.assemble`.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or lies outside.
    """
    sets = check_output("sets", sets, np.int16, sets.shape)
    gains = check_output("gains", gains, np.float32, sets.shape)
    where = check_array("where", where, np.uint8, (sets.shape[1],))
    tie_keys = check_array("tie_keys", tie_keys, np.uint64, where.shape)
    check_sets(sets, int(np.iinfo(np.int16).max))
    if not check_number("cost", cost, 0.0) > 0.0:
        raise ContractError(f"cost must be greater than 0, got {cost}")
    price = check_number("price", price, finite=False)
    _cut_at_price(sets, gains, where, np.float32(cost), np.float32(price), np.uint64(tie_cut), tie_keys)


@kernel
def _cut_at_price(
    sets: I16,
    gains: F32,
    where: U8,
    cost: np.float32,
    price: np.float32,
    tie_cut: np.uint64,
    tie_keys: U64,
) -> None:
    for r in range(sets.shape[1]):
        if where[r] == 0:
            continue
        admitted = True
        for place in range(sets.shape[0]):
            if sets[place, r] < 0:
                break
            below_cut = (tie_keys[r] | np.uint64(place)) < tie_cut
            admitted = admitted and _admitted(gains[place, r], cost, price, below_cut)
            if not admitted:
                sets[place, r], gains[place, r] = -1, np.float32(np.nan)
