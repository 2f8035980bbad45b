"""Sets that were assembled at one price, as they are at a higher one, where all candidates cost the same.

The order of assembly does not depend on the price then, and nothing is admitted after something was not: a set at a
higher price is the beginning of the set at a lower one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.admission import is_admitted, rate_of
from decider_core.caps import LARGEST, check_sets
from decider_core.compile import F32, I16, U8, U64, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_range


class Packed(NamedTuple):
    """Sets without their empty places: first all first messages, member after member, then all second ones, and so on.

    Parameters
    ----------
    n_messages : u8[n_members]
        Of each member.
    sets : i16[n_filled]
        Candidates.
    mean, sd, gains, mean_gains : f32[n_filled]
        Posterior moments, marginal gains and marginal gains of the means; all as :func:`filled` gives them.
    """

    n_messages: U8
    sets: I16
    mean: F32
    sd: F32
    gains: F32
    mean_gains: F32


class Cut(NamedTuple):
    """Sets at a price, in their places.

    Parameters
    ----------
    sets : i16[n_places, n_members]
        -1 in empty places; the others hold NaN there.
    mean, sd, gains : f32[n_places, n_members]
    expected : f32[n_members]
        Sum of the marginal gains of the means.
    """

    sets: I16
    mean: F32
    sd: F32
    gains: F32
    expected: F32


def cut_at_price(
    packed: Packed,
    n_places: int,
    where: U8,
    cost: float,
    price: float,
    tie_cut: int | np.uint64,
    tie_keys: U64,
) -> Cut:
    """Cut sets where their messages cease to be admitted: the bits that assembly at this price gives.

    Parameters
    ----------
    packed
        Sets assembled at no higher a price.
    n_places
        Places of each member.
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
    count = check_array("n_messages", packed.n_messages, np.uint8, (None,))
    sets = check_array("sets", packed.sets, np.int16, (None,))
    _check_count(count, n_places, sets.size)
    mean, sd, gains, mean_gains = (
        check_array(name, getattr(packed, name), np.float32, sets.shape)
        for name in ("mean", "sd", "gains", "mean_gains")
    )
    where = check_array("where", where, np.uint8, count.shape)
    tie_keys = check_array("tie_keys", tie_keys, np.uint64, count.shape)
    if not check_number("cost", cost, 0.0) > 0.0:
        raise ContractError(f"cost must be greater than 0, got {cost}")
    price = check_number("price", price, finite=False)
    shape = n_places, count.size
    mean_out, sd_out, gains_out = (np.empty(shape, np.float32) for _ in range(3))
    cut = Cut(np.empty(shape, np.int16), mean_out, sd_out, gains_out, np.zeros(count.size, np.float32))
    checked = Packed(count, sets, mean, sd, gains, mean_gains)
    at = np.float32(cost), np.float32(price), np.uint64(tie_cut)
    _cut_at_price(checked, where, *at, tie_keys, np.ones(count.size, np.uint8), cut)
    return cut


def priced_rates(sets: I16, gains: F32, where: U8, cost: F32) -> F32:
    """Return gain per unit of cost of every message that a price decides, f32[n], place after place.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        -1 in empty places.
    gains : f32[max_messages, n_members]
        Marginal gains.
    where : u8[n_members]
        0 leaves a member out.
    cost : f32[n_candidates]

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or a candidate lies outside.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    gains = check_array("gains", gains, np.float32, sets.shape)
    where = check_array("where", where, np.uint8, (sets.shape[1],))
    cost = check_array("cost", cost, np.float32, (None,))
    check_range("cost", cost, 0.0, LARGEST)
    check_sets(sets, cost.size)
    out = np.empty(sets.size + 1, np.float32)
    return out[: _priced_rates(sets, gains, where, cost, out)].copy()


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
    _check_count(count, n_places, values.size)
    out = np.full((n_places, count.size), empty, values.dtype)
    _spread(count, values, out)
    return out


def _check_count(count: U8, n_places: int, n_filled: int) -> None:
    if count.max(initial=0) > n_places or int(count.sum()) != n_filled:
        raise ContractError(f"count must be at most {n_places} and sum to {n_filled}, got {count.sum()}")


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
def _priced_rates(sets: I16, gains: F32, where: U8, cost: F32, out: F32) -> int:
    i = 0
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            # Index -1 is the last candidate, whose rate is not kept.
            out[i] = rate_of(gains[place, r], cost[k])
            i += (k >= 0) & (where[r] != 0)
    return i


@kernel
def _cut_at_price(
    packed: Packed,
    where: U8,
    cost: np.float32,
    price: np.float32,
    tie_cut: np.uint64,
    tie_keys: U64,
    admitted: U8,
    cut: Cut,
) -> None:
    nothing, last = np.float32(np.nan), packed.sets.size - 1
    if last < 0:
        cut.sets[:] = -1
        cut.gains[:] = cut.mean[:] = cut.sd[:] = nothing
        return
    i = 0
    for place in range(cut.sets.shape[0]):
        for r in range(packed.n_messages.size):
            # Read always and kept only where it counts: no branch to guess.
            j = min(i, last)
            is_filled = place < packed.n_messages[r]
            below_cut = (tie_keys[r] | np.uint64(place)) < tie_cut
            stays = (where[r] == 0) | is_admitted(packed.gains[j], cost, price, below_cut)
            stays = stays & is_filled & (admitted[r] != 0)
            admitted[r] = stays
            cut.sets[place, r] = packed.sets[j] if stays else np.int16(-1)
            cut.gains[place, r] = packed.gains[j] if stays else nothing
            cut.mean[place, r] = packed.mean[j] if stays else nothing
            cut.sd[place, r] = packed.sd[j] if stays else nothing
            cut.expected[r] += packed.mean_gains[j] if stays else np.float32(0.0)
            i += is_filled
