"""Which members get the same set at all prices between two: those that a search for prices need not assemble again."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.admission import charge_of, least_admitted
from decider_core.caps import LARGEST, Caps, check_caps, check_fatigue, check_sets
from decider_core.compile import F32, I16, I32, U8, inline, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_range
from decider_core.gains import _gain

_TILE: Final = 128
"""Members that are looked at together: a candidate's values are read in a row."""


def settled(
    sets: I16,
    value: F32,
    reason: U8,
    fatigue: F32,
    same_topic_penalty: float,
    cost: F32,
    low: F32,
    high: F32,
    alike: I32,
    caps: Caps,
) -> U8:
    """Return u8[n_members], 1 where assembly gives the same set whatever the prices between `low` and `high`.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        From :func:`decider_core.assemble.assemble` with prices `low` and ``tie_cut`` 0.
    value, reason, fatigue, same_topic_penalty, cost, caps
        What it was given.
    low, high : f32[n_candidates]
        The least and the highest price of each candidate, per unit of cost; may be +inf.
    alike : i32[n_candidates]
        Candidates of one number always have the same cost and price.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or lies outside.

    Notes
    -----
    A message of the set stays at its place if it is admitted at its highest price, and there still beats every
    candidate that has room at the lowest price of that one; those alike keep their order at any price. What is not
    admitted at the lowest prices never is.

    A 1 is certain, to the last bit, and a 0 means "perhaps". For what assembly takes off a gain, ``price*cost`` in
    float32, what is left after that, and the least gain that it admits (:mod:`decider_core.admission`) never turn
    back as a price rises, each rounded as it is: so their values at two prices bound those at all between, and here
    they are computed and compared as they are there.
    """
    sets = check_array("sets", sets, np.int16, (caps.max_messages, None))
    n_members = sets.shape[1]
    value = check_array("value", value, np.float32, (None, n_members))
    n_candidates = len(value)
    reason = check_array("reason", reason, np.uint8, value.shape)
    fatigue = check_fatigue(fatigue, n_members)
    penalty = np.float32(check_number("same_topic_penalty", same_topic_penalty, 0.0, LARGEST))
    cost = check_array("cost", cost, np.float32, (n_candidates,))
    check_range("cost", cost, 0.0, LARGEST)
    low = check_array("low", low, np.float32, (n_candidates,))
    high = check_array("high", high, np.float32, (n_candidates,))
    check_range("low", low, -LARGEST, np.inf)
    check_range("high", high, -LARGEST, np.inf)
    if (high < low).any():
        k = int(np.argmax(high < low))
        raise ContractError(f"high must be at least low, got {high[k]} and {low[k]} at [{k}]")
    alike = check_array("alike", alike, np.int32, (n_candidates,))
    caps = check_caps(caps, n_candidates, n_members)
    check_sets(sets, n_candidates)
    found = np.empty(n_members, np.uint8)
    _settled(sets, value, reason, fatigue, penalty, cost, low, high, alike, caps, found)
    return found


@kernel
def _settled(
    sets: I16,
    value: F32,
    reason: U8,
    fatigue: F32,
    penalty: np.float32,
    cost: F32,
    low: F32,
    high: F32,
    alike: I32,
    caps: Caps,
    found: U8,
) -> None:
    n_members = sets.shape[1]
    # In row 0 at the low price, in row 1 at the high one: what is taken off a gain, and the least that is admitted.
    charge, admitted = np.empty((2, cost.size), np.float32), np.empty((2, cost.size), np.float32)
    for k in range(cost.size):
        charge[0, k], charge[1, k] = charge_of(cost[k], low[k]), charge_of(cost[k], high[k])
        admitted[0, k] = least_admitted(cost[k], low[k], False)
        admitted[1, k] = least_admitted(cost[k], high[k], False)
    least, drop = np.empty(_TILE, np.float32), np.empty(_TILE, np.float32)
    chosen, suspects = np.empty(_TILE, np.int32), np.empty(_TILE, np.int32)
    for first in range(0, n_members, _TILE):
        width = min(_TILE, n_members - first)
        found[first : first + width] = 1
        for place in range(len(sets)):
            n_held = 0
            for i in range(width):
                r = first + i
                c = sets[place, r]
                least[i], drop[i], chosen[i], suspects[i] = np.float32(np.inf), np.float32(0.0), -1, 0
                if c < 0 or found[r] == 0:
                    continue
                gain = _gain(value, fatigue, penalty, caps.topic, sets, place, c, r)
                if gain >= admitted[1, c]:
                    least[i], drop[i] = gain - charge[1, c], fatigue[r] * np.float32(place)
                    chosen[i] = alike[c]
                    n_held += 1
                else:
                    found[r] = 0
            if n_held == 0:
                break
            for k in range(len(value)):
                _suspect(
                    value[k, first : first + width], reason[k, first : first + width], charge[0, k],
                    admitted[0, k], alike[k], least, drop, chosen, suspects,
                )  # fmt: skip
            for i in range(width):
                if suspects[i] > 0 and _beaten(
                    least[i], value, reason, fatigue, penalty, charge[0], admitted[0], alike, caps, sets, place,
                    first + i,
                ):  # fmt: skip
                    found[first + i] = 0


@inline
def _suspect(
    value: F32,
    reason: U8,
    charge: np.float32,
    admitted: np.float32,
    alike: np.int32,
    least: F32,
    drop: F32,
    chosen: I32,
    suspects: I32,
) -> None:
    # Who might beat what stands, whatever the room and topics: most have none, and are found out in vectors.
    for i in range(len(value)):
        most = value[i] - drop[i]
        suspects[i] += (
            (reason[i] == 0) & (alike != chosen[i]) & (most >= admitted) & (most - charge >= least[i])
        )


@kernel
def _beaten(
    least: np.float32,
    value: F32,
    reason: U8,
    fatigue: F32,
    penalty: np.float32,
    charge: F32,
    admitted: F32,
    alike: I32,
    caps: Caps,
    sets: I16,
    place: int,
    r: int,
) -> bool:
    # Whether some candidate with room, not alike to what stands at `place`, may be worth `least` after its low charge.
    chosen = alike[sets[place, r]]
    for k in range(len(value)):
        if reason[k, r] != 0 or alike[k] == chosen or not value[k, r] >= admitted[k]:
            continue
        gain = _gain(value, fatigue, penalty, caps.topic, sets, place, k, r)
        if gain >= admitted[k] and gain - charge[k] >= least and _has_room(caps, sets, place, k, r):
            return True
    return False


@inline
def _has_room(caps: Caps, sets: I16, place: int, k: int, r: int) -> bool:
    on_channel, of_topic, taken = 0, 0, False
    for earlier in range(place):
        other = sets[earlier, r]
        on_channel += caps.channel[other] == caps.channel[k]
        of_topic += caps.topic[other] == caps.topic[k]
        taken |= other == k
    return bool(
        not taken
        and on_channel < caps.room_channel[caps.channel[k], r]
        and of_topic < caps.room_topic[caps.topic[k], r]
    )
