"""Greedy message sets: under a price, with fatigue, a penalty for one topic twice, and caps.

Starts from the empty set and adds, one at a time, the candidate that is worth most after its price, as long
as it is admitted at that price and no cap binds. The price decides in one function, :func:`_admitted`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from decider_core.caps import LARGEST, MAX_MESSAGES, Terms, check_caps, check_fatigue, check_sets, check_terms
from decider_core.caps import Caps as Caps
from decider_core.choice import GROUP, LANES, best, best_level, best_level_limited, best_limited, offer
from decider_core.compile import F32, I16, I32, U8, U64, as_f32, as_i32, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output, check_range

_NEVER: Final = np.float32(-np.inf)


def assemble(
    value: F32,
    reason: U8,
    fatigue: F32,
    same_topic_penalty: float,
    cost: F32,
    price: F32,
    tie_cut: int | np.uint64,
    tie_keys: U64,
    caps: Caps,
    out: tuple[I16, F32] | None = None,
) -> tuple[I16, F32]:
    """Return the message set of every member, and what each message adds to the set before it.

    Parameters
    ----------
    value : f32[n_candidates, n_members]
        The policy's value of each candidate alone; must be finite where eligible.
    reason : u8[n_candidates, n_members]
        0 where the candidate is eligible.
    fatigue : f32[n_members]
        What each message before it takes from a message; not negative.
    same_topic_penalty
        What each message of the same topic before it takes from a message; not negative.
    cost : f32[n_candidates]
        Not negative. With cost 0 a candidate is admitted if its gain is positive, at any finite price.
    price : f32[n_candidates]
        Reward per unit of cost that a message must exceed. -inf gives the whole path up to the caps, in the
        order of price 0, from which :func:`decider_core.price.price_for_volume` finds the price.
    tie_cut
        A message whose rate equals its price is admitted if ``tie_key | place`` is below; 0 admits none.
    tie_keys : u64[n_members]
        From :func:`decider_core.random.tie_keys`: the low four bits are zero.
    caps
        The room that is left.
    out : (i16[max_messages, n_members], f32[max_messages, n_members]), optional
        Where to write.

    Returns
    -------
    sets : i16[max_messages, n_members]
        Candidates in the order added, -1 in empty places.
    gains : f32[max_messages, n_members]
        ``delta(c | S) = value - fatigue*|S| - same_topic_penalty*#{same topic in S}``, NaN in empty places.

    Raises
    ------
    ContractError
        If an argument breaks the rules above.

    Notes
    -----
    At each place the admitted candidate with the largest ``delta - price*cost`` is added; of equals the
    larger delta, then the lower index. A gain never grows as the set grows, so a candidate that is not
    admitted once is never admitted later: at the end, no candidate is admitted that a cap leaves room for.
    With equal costs the order does not depend on the price, and the set at a price is a prefix of the path
    at -inf.

    All arithmetic is float32, rounded after each operation, member by member: the batch changes no bit.
    """
    value = check_array("value", value, np.float32, (None, None))
    n_candidates, n_members = value.shape
    reason = check_array("reason", reason, np.uint8, value.shape)
    fatigue = check_fatigue(fatigue, n_members)
    terms = check_terms(cost, price, same_topic_penalty, tie_cut, n_candidates)
    tie_keys = check_array("tie_keys", tie_keys, np.uint64, (n_members,))
    caps = check_caps(caps, n_candidates, n_members)
    shape = (caps.max_messages, n_members)
    sets = check_output("sets", None if out is None else out[0], np.int16, shape)
    gains = check_output("gains", None if out is None else out[1], np.float32, shape)
    wrong = _assemble(value, reason, fatigue, terms, tie_keys, caps, sets, gains)
    if wrong >= 0:
        k, r = divmod(wrong, n_members)
        raise ContractError(f"value must be finite where eligible, got {value[k, r]} at [{k}, {r}]")
    return sets, gains


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


class Lanes(NamedTuple):
    """A block of members, or of draws of one member; the caller fills what bears a star.

    The rooms of channels only if the block is tight, those of topics only if it is themed: see
    :func:`_assemble_lanes`.
    """

    free: F32
    """* f32[n_candidates, LANES]: value where eligible and not taken, else -inf."""
    fatigue: F32
    """* f32[LANES]"""
    room: I32
    """* i32[LANES]: room of the member; none once nothing is admitted."""
    key: U64
    """* u64[LANES]: tie key."""
    room_channel: I32
    """* i32[n_channels, LANES]: room on the channel."""
    room_topic: I32
    """* i32[n_topics, LANES]: room for the topic."""
    channel_loss: F32
    """f32[1 + n_channels, LANES]: in row 1 + c infinity where channel c has no room, else 0; row 0 is 0."""
    topic_loss: F32
    """f32[1 + n_topics, LANES]: in row 1 + t infinity where topic t has no room, else its penalty; row 0 is 0."""
    channel_row: I32
    """i32[n_candidates]: each candidate's row of channel_loss."""
    topic_row: I32
    """i32[n_candidates]: each candidate's row of topic_loss."""
    charge: F32
    """f32[n_candidates]: what the order takes off."""
    least: F32
    """f32[2, n_candidates]: the least gain that is admitted; in row 1 where the tie key is below the cut."""
    below_cut: I32
    """i32[LANES]: not 0 where the tie key is below the cut."""
    best: F32
    """f32[LANES]: gain of the best candidate, NaN if there is none or it is not admitted."""
    chosen: I32
    """i32[LANES]: the best candidate, -1 likewise."""
    row_of_channel: I32
    """i32[MAX_MESSAGES, LANES]: the row of channel_loss of what each place was given."""
    row_of_topic: I32
    """i32[MAX_MESSAGES, LANES]: the row of topic_loss of what each place was given."""
    n_same: I32
    """i32[LANES]: how many places were given something of one row."""


@inline
def _rate(delta: np.float32, cost: np.float32) -> np.float32:
    if cost > np.float32(0.0):
        return delta / cost
    return np.float32(np.inf) if delta > np.float32(0.0) else _NEVER


@inline
def _admitted(delta: np.float32, cost: np.float32, price: np.float32, below_cut: bool) -> bool:
    # The one place where a price decides. It compares the rounded rate, as the price is one of those rates.
    rate = _rate(delta, cost)
    return bool((rate > price) | ((rate == price) & below_cut))


@inline
def _charge(cost: np.float32, price: np.float32) -> np.float32:
    # What the order subtracts; 0*inf must not become NaN, and price -inf means: in the order of price 0.
    return np.float32(0.0) if (cost == np.float32(0.0)) | (price == _NEVER) else price * cost


@kernel
def _assemble(
    value: F32, reason: U8, fatigue: F32, terms: Terms, tie_keys: U64, caps: Caps, sets: I16, gains: F32
) -> int:
    # Returns -1, or the flat index of an eligible value that is not finite.
    n_candidates, n_members = value.shape
    n_topics = len(caps.room_topic)
    lanes = _lanes(n_candidates, len(caps.room_channel), n_topics)
    level = _set_terms(terms, lanes)
    last_value, last_reason = (
        np.zeros((n_candidates, GROUP), np.float32),
        np.ones((n_candidates, GROUP), np.uint8),
    )
    first = 0
    while first < n_members:
        past = min(first + LANES, n_members)
        if past - first > GROUP:
            past = first + (past - first) // GROUP * GROUP
        n_lanes = past - first
        wrong = 0
        if n_lanes < GROUP:
            # offer works on whole groups: the last lanes are worked on where there is room for one.
            for k in range(n_candidates):
                _copy(value[k, first:past], last_value[k])
                _copy(reason[k, first:past], last_reason[k])
            if n_candidates > 0:
                wrong = offer(last_value, last_reason, lanes.free, GROUP)
        elif n_candidates > 0:
            wrong = offer(value[:, first:past], reason[:, first:past], lanes.free, n_lanes)
        if wrong != 0:
            return _find_wrong(value, reason, first, past)
        _copy(fatigue[first:past], lanes.fatigue)
        _copy(caps.room_member[first:past], lanes.room)
        _copy(tie_keys[first:past], lanes.key)
        tight = _least(caps.room_channel, first, past) < caps.max_messages
        if tight:
            for c in range(len(caps.room_channel)):
                _copy(caps.room_channel[c, first:past], lanes.room_channel[c])
        themed = bool(terms.same_topic_penalty > np.float32(0.0))
        if not themed:
            themed = _least(caps.room_topic, first, past) < caps.max_messages
        if themed:
            for t in range(n_topics):
                _copy(caps.room_topic[t, first:past], lanes.room_topic[t])
        _assemble_lanes(lanes, tight, themed, level, terms, caps, sets[:, first:past], gains[:, first:past])
        first = past
    return -1


@kernel
def _lanes(n_candidates: int, n_channels: int, n_topics: int) -> Lanes:
    return Lanes(
        free=np.empty((n_candidates, LANES), np.float32),
        fatigue=np.empty(LANES, np.float32),
        room=np.empty(LANES, np.int32),
        key=np.empty(LANES, np.uint64),
        room_channel=np.empty((n_channels, LANES), np.int32),
        room_topic=np.empty((n_topics, LANES), np.int32),
        channel_loss=np.zeros((1 + n_channels, LANES), np.float32),
        topic_loss=np.zeros((1 + n_topics, LANES), np.float32),
        channel_row=np.zeros(n_candidates, np.int32),
        topic_row=np.zeros(n_candidates, np.int32),
        charge=np.empty(n_candidates, np.float32),
        least=np.empty((2, n_candidates), np.float32),
        below_cut=np.zeros(LANES, np.int32),
        best=np.empty(LANES, np.float32),
        chosen=np.empty(LANES, np.int32),
        row_of_channel=np.empty((MAX_MESSAGES, LANES), np.int32),
        row_of_topic=np.empty((MAX_MESSAGES, LANES), np.int32),
        n_same=np.empty(LANES, np.int32),
    )


@kernel
def _set_terms(terms: Terms, lanes: Lanes) -> bool:
    # Returns whether all candidates cost the same at the same price: the order is then that of the gains.
    n_other = 0
    for k in range(terms.cost.size):
        n_other += (terms.cost[k] != terms.cost[0]) | (terms.price[k] != terms.price[0])
    for k in range(terms.cost.size if n_other > 0 else min(terms.cost.size, 1)):
        cost, price = terms.cost[k], terms.price[k]
        lanes.charge[k] = _charge(cost, price)
        lanes.least[0, k] = _least_admitted(cost, price, False)
        lanes.least[1, k] = _least_admitted(cost, price, True)
    return n_other == 0


@kernel
def _least_admitted(cost: np.float32, price: np.float32, below_cut: bool) -> np.float32:
    # Bisection over the numbers in the order of their bits: what is admitted never ceases to be as the gain
    # grows. First between the neighbours of price*cost, where it is but for under- and overflow.
    near = _ordered(price * cost) if abs(price) < np.inf else np.int64(0)
    low, high = _ordered(np.float32(-LARGEST)) - 1, _ordered(np.float32(np.inf))
    if low < near - 4 and near + 4 < high:
        if _admitted(_number(near + 4), cost, price, below_cut):
            high = near + 4
            if not _admitted(_number(near - 4), cost, price, below_cut):
                low = near - 4
        else:
            low = near + 4
    while high - low > 1:
        middle = (low + high) >> 1
        if _admitted(_number(middle), cost, price, below_cut):
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


@kernel
def _find_wrong(value: F32, reason: U8, first: int, past: int) -> int:
    for k in range(len(value)):
        for r in range(first, past):
            if reason[k, r] == 0 and not np.isfinite(value[k, r]):
                return int(k * value.shape[1] + r)
    return -1


@inline
def _copy(numbers: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    for r in range(len(numbers)):
        out[r] = numbers[r]


@kernel
def _least(room: I16, first: int, past: int) -> int:
    least = np.int16(MAX_MESSAGES)
    for c in range(len(room)):
        row = room[c, first:past]
        for r in range(len(row)):
            least = min(least, row[r])
    return int(least)


@kernel
def _assemble_lanes(
    lanes: Lanes, tight: bool, themed: bool, level: bool, terms: Terms, caps: Caps, sets: I16, gains: F32
) -> None:
    # tight: some channel may run out of room. themed: some topic may, or has its penalty. level: all
    # candidates cost the same at the same price. What does not hold is not looked at.
    n_places, n_lanes = sets.shape
    for k in range(len(lanes.free)):
        lanes.channel_row[k] = 1 + caps.channel[k] if tight else 0
        lanes.topic_row[k] = 1 + caps.topic[k] if themed else 0
    if tight:
        for c in range(len(lanes.room_channel)):
            _bar(lanes.room_channel[c, :n_lanes], lanes.channel_loss[1 + c])
    if themed:
        for t in range(len(lanes.room_topic)):
            _bar(lanes.room_topic[t, :n_lanes], lanes.topic_loss[1 + t])
    for place in range(n_places):
        if terms.tie_cut > np.uint64(0):
            for r in range(n_lanes):
                lanes.below_cut[r] = (lanes.key[r] | np.uint64(place)) < terms.tie_cut
        n_added = _choose(lanes, tight or themed, level, place, n_lanes)
        _copy(lanes.chosen[:n_lanes], sets[place])
        _copy(lanes.best[:n_lanes], gains[place])
        if n_added == 0 or place + 1 == n_places:
            sets[place + 1 :] = -1
            gains[place + 1 :] = np.float32(np.nan)
            return
        # A lane that got nothing is closed for good: what it loses here, it loses for nothing.
        _take(lanes.chosen[:n_lanes], lanes.free)
        if tight:
            _take_room(
                lanes.chosen[:n_lanes], lanes.channel_row, place, np.float32(0.0),
                lanes.room_channel, lanes.row_of_channel, lanes.n_same, lanes.channel_loss,
            )  # fmt: skip
        if themed:
            _take_room(
                lanes.chosen[:n_lanes], lanes.topic_row, place, terms.same_topic_penalty,
                lanes.room_topic, lanes.row_of_topic, lanes.n_same, lanes.topic_loss,
            )  # fmt: skip


@kernel
def _bar(room: I32, loss: F32) -> None:
    for r in range(len(room)):
        loss[r] = np.float32(0.0) if room[r] > 0 else np.float32(np.inf)


@inline
def _choose(lanes: Lanes, limited: bool, level: bool, place: int, n_lanes: int) -> int:
    if len(lanes.free) == 0:
        lanes.chosen[:n_lanes] = -1
        lanes.best[:n_lanes] = np.float32(np.nan)
        return 0
    if level and limited:
        n_added = best_level_limited(
            lanes.free, lanes.fatigue, lanes.room, lanes.channel_loss, lanes.channel_row, lanes.topic_loss,
            lanes.topic_row, lanes.charge, lanes.least, lanes.below_cut, lanes.best, lanes.chosen, place, n_lanes,
        )  # fmt: skip
    elif level:
        n_added = best_level(
            lanes.free, lanes.fatigue, lanes.room, lanes.channel_loss, lanes.channel_row, lanes.topic_loss,
            lanes.topic_row, lanes.charge, lanes.least, lanes.below_cut, lanes.best, lanes.chosen, place, n_lanes,
        )  # fmt: skip
    elif limited:
        n_added = best_limited(
            lanes.free, lanes.fatigue, lanes.room, lanes.channel_loss, lanes.channel_row, lanes.topic_loss,
            lanes.topic_row, lanes.charge, lanes.least, lanes.below_cut, lanes.best, lanes.chosen, place, n_lanes,
        )  # fmt: skip
    else:
        n_added = best(
            lanes.free, lanes.fatigue, lanes.room, lanes.channel_loss, lanes.channel_row, lanes.topic_loss,
            lanes.topic_row, lanes.charge, lanes.least, lanes.below_cut, lanes.best, lanes.chosen, place, n_lanes,
        )  # fmt: skip
    return int(n_added)


@kernel
def _take(chosen: I32, free: F32) -> None:
    for r in range(len(chosen)):
        free[_candidate(chosen[r]), r] = _NEVER


@kernel
def _take_room(
    chosen: I32,
    row: I32,
    place: int,
    penalty: np.float32,
    room: I32,
    row_of_place: I32,
    n_same: I32,
    loss: F32,
) -> None:
    # The loss of the row that was taken from: from how many places took from it, without counting every row.
    for r in range(len(chosen)):
        row_of_place[place, r] = row[_candidate(chosen[r])]
    for r in range(len(chosen)):
        n_same[r] = 1
    for before in range(place):
        _count_same(row_of_place[before, : len(chosen)], row_of_place[place], n_same)
    for r in range(len(chosen)):
        taken = np.uint32(row_of_place[place, r])
        left = room[taken - np.uint32(1), r] > n_same[r]
        loss[taken, r] = penalty * np.float32(n_same[r]) if left else np.float32(np.inf)


@kernel
def _count_same(before: I32, now: I32, n_same: I32) -> None:
    for r in range(len(before)):
        n_same[r] += before[r] == now[r]


@inline
def _candidate(chosen: np.int32) -> np.uint32:
    # Unsigned: an index that may be negative would be looked at as one that counts from the end.
    return np.uint32(max(chosen, np.int32(0)))


@kernel
def _gain_rates(gains: F32, sets: I16, cost: F32, rates: F32) -> None:
    for place in range(len(gains)):
        for r in range(gains.shape[1]):
            k = sets[place, r]
            rates[place, r] = _rate(gains[place, r], cost[k]) if k >= 0 else np.float32(np.nan)
