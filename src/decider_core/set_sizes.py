"""Whose message set holds no fewer messages at any lower price, and whose holds no more at any higher one."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core.admission import least_admitted
from decider_core.caps import LARGEST, Caps, check_caps, check_fatigue, check_sets
from decider_core.compile import F32, I16, I32, I64, U8, inline, kernel
from decider_core.contracts import check_array, check_number, check_range

_TILE: Final = 128
"""Members that are looked at together: a candidate's values are read in a row."""


def never_fewer(
    sets: I16, value: F32, fatigue: F32, same_topic_penalty: float, cost: F32, price: F32, caps: Caps
) -> U8:
    """Return u8[n_members], 1 where assembly gives at least as many messages at any prices not above `price`.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        From :func:`decider_core.assemble.assemble` with ``tie_cut`` 0.
    value, fatigue, same_topic_penalty, cost, price, caps
        What it was given.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or lies outside.

    Notes
    -----
    Of m messages, each must be admitted also after m - 1 others of its topic, and either channels or topics must have
    room for m of its own. If assembly ended with fewer at lower prices, whichever of the m is missing there would be
    admitted; so the other kind of cap, and that one alone, would leave no room for it. But within one kind all sets to
    which nothing can be added have the same size (they are bases of a matroid). A 1 is certain, to the last bit: a
    gain never falls as fewer go before, the least gain admitted never as a price rises, each rounded as it is.
    """
    sets = check_array("sets", sets, np.int16, (caps.max_messages, None))
    n_members = sets.shape[1]
    value = check_array("value", value, np.float32, (None, n_members))
    fatigue = check_fatigue(fatigue, n_members)
    penalty = np.float32(check_number("same_topic_penalty", same_topic_penalty, 0.0, LARGEST))
    admitted = _admitted_at(cost, price, len(value))
    caps = check_caps(caps, len(value), n_members)
    check_sets(sets, len(value))
    found = np.empty(n_members, np.uint8)
    _never_fewer(sets, value, fatigue, penalty, admitted, caps, found)
    return found


def never_more(sets: I16, value: F32, reason: U8, cost: F32, price: F32, caps: Caps) -> U8:
    """Return u8[n_members], 1 where assembly gives at most as many messages at any prices not below `price`.

    Parameters are those of :func:`never_fewer`, and the reasons u8[n_candidates, n_members] that assembly was given.

    Notes
    -----
    What goes out at a higher price is admitted at this one, alone: so the sets are no larger than the member's room, or
    than what channels have room for of such candidates, or topics. A 1 is certain, and a 0 means "perhaps".
    """
    sets = check_array("sets", sets, np.int16, (caps.max_messages, None))
    n_members = sets.shape[1]
    value = check_array("value", value, np.float32, (None, n_members))
    reason = check_array("reason", reason, np.uint8, value.shape)
    admitted = _admitted_at(cost, price, len(value))
    caps = check_caps(caps, len(value), n_members)
    check_sets(sets, len(value))
    found = np.empty(n_members, np.uint8)
    _never_more(sets, value, reason, admitted, caps, found)
    return found


def _admitted_at(cost: F32, price: F32, n_candidates: int) -> F32:
    """The least gain of each candidate that is admitted."""
    cost = check_array("cost", cost, np.float32, (n_candidates,))
    check_range("cost", cost, 0.0, LARGEST)
    price = check_array("price", price, np.float32, (n_candidates,))
    check_range("price", price, -LARGEST, np.inf)
    admitted = np.empty(n_candidates, np.float32)
    for k in range(n_candidates):
        admitted[k] = least_admitted(cost[k], price[k], False)
    return admitted


@kernel
def _never_fewer(
    sets: I16, value: F32, fatigue: F32, penalty: np.float32, admitted: F32, caps: Caps, found: U8
) -> None:
    for r in range(sets.shape[1]):
        m = _size(sets, r)
        others = np.float32(max(m - 1, 0))
        stay, channels, topics = True, True, True
        for place in range(m):
            k = sets[place, r]
            stay &= value[k, r] - fatigue[r] * others - penalty * others >= admitted[k]
            channels &= caps.room_channel[caps.channel[k], r] >= m
            topics &= caps.room_topic[caps.topic[k], r] >= m
        # One message stands first: nothing is taken off its gain, and what it has room in has room for one.
        found[r] = m <= 1 or (stay and (channels or topics))


@kernel
def _never_more(sets: I16, value: F32, reason: U8, admitted: F32, caps: Caps, found: U8) -> None:
    n_members = sets.shape[1]
    total = np.empty(_TILE, np.int32)
    n_of_channel = np.empty(len(caps.room_channel), np.int64)
    n_of_topic = np.empty(len(caps.room_topic), np.int64)
    for first in range(0, n_members, _TILE):
        width = min(_TILE, n_members - first)
        total[:] = 0
        for k in range(len(value)):
            _count(value[k, first : first + width], reason[k, first : first + width], admitted[k], total)
        for i in range(width):
            r = first + i
            m = _size(sets, r)
            if m >= min(total[i], caps.room_member[r], caps.max_messages):
                found[r] = 1
                continue
            n_of_channel[:], n_of_topic[:] = 0, 0
            for k in range(len(value)):
                if reason[k, r] == 0 and value[k, r] >= admitted[k]:
                    n_of_channel[caps.channel[k]] += 1
                    n_of_topic[caps.topic[k]] += 1
            of_channels = _fitting(n_of_channel, caps.room_channel, r)
            found[r] = m >= min(of_channels, _fitting(n_of_topic, caps.room_topic, r))


@inline
def _count(value: F32, reason: U8, admitted: np.float32, total: I32) -> None:
    for i in range(len(value)):
        total[i] += (reason[i] == 0) & (value[i] >= admitted)


@inline
def _size(sets: I16, r: int) -> int:
    m = 0
    for place in range(len(sets)):
        m += sets[place, r] >= 0
    return m


@inline
def _fitting(n: I64, room: I16, r: int) -> int:
    total = 0
    for c in range(len(n)):
        total += min(n[c], np.int64(room[c, r]))
    return total
