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


def filled(sets: I16, values: F32 | I16) -> F32 | I16:
    """Return the values of places that are not empty, place after place: [n_filled].

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        -1 in empty places.
    values : f32 or i16 [max_messages, n_members]

    Raises
    ------
    ContractError
        If an argument has another dtype or shape.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    values = check_array("values", values, _number(values), sets.shape)
    out = np.empty(sets.size + 1, values.dtype)
    return out[: _filled(sets, values, out)].copy()


def spread(count: U8, n_places: int, values: F32 | I16, empty: float) -> F32 | I16:
    """Put values back in their places: the inverse of :func:`filled`, [n_places, n_members].

    Parameters
    ----------
    count : u8[n_members]
        Places that are not empty; they come first.
    n_places
        Places of each member.
    values : f32 or i16 [n_filled]
    empty
        What the empty places hold.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or counts and values do not match.
    """
    count = check_array("count", count, np.uint8, (None,))
    values = check_array("values", values, _number(values), (None,))
    if count.max(initial=0) > n_places or int(count.sum()) != values.size:
        raise ContractError(f"count must be at most {n_places} and sum to {values.size}, got {count.sum()}")
    out = np.full((n_places, count.size), empty, values.dtype)
    _spread(count, values, out)
    return out


def _number(values: F32 | I16) -> type[np.generic]:
    return np.int16 if values.dtype == np.int16 else np.float32


@kernel
def _filled(sets: I16, values: F32 | I16, out: F32 | I16) -> int:
    i = 0
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            # Written always and kept only where it counts: no branch to guess.
            out[i] = values[place, r]
            i += sets[place, r] >= 0
    return i


@kernel
def _spread(count: U8, values: F32 | I16, out: F32 | I16) -> None:
    i = 0
    for place in range(out.shape[0]):
        for r in range(count.size):
            if place < count[r]:
                out[place, r] = values[i]
                i += 1


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
