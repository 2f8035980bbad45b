"""Greedy message sets: under a price, with fatigue, a penalty for one topic twice, and caps.

Starts from the empty set and adds, one at a time, the candidate that is worth most after its price, as long
as it is admitted at that price and no cap binds. The price decides in one function, :func:`_admitted`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import LARGEST, Terms, check_caps, check_fatigue, check_sets, check_terms
from decider_core.caps import Caps as Caps
from decider_core.compile import F32, I16, I32, U8, U64, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output, check_range

# Members at a time: their values, for 32 candidates 32 KiB, stay in the nearest caches.
_LANES: Final = 256
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
    """Where a block of members (or of draws of one member) is assembled; the caller fills the first six."""

    free: F32  # [n_candidates, lanes]: value where eligible and not taken, else -inf
    channel_loss: F32  # [n_channels, lanes]: inf where the channel has no room, else 0
    topic_loss: F32  # [n_topics, lanes]: inf where the topic has no room, else its penalty so far
    fatigue: F32  # [lanes]
    room: I32  # [lanes]: room of the member; used up here
    key: U64  # [lanes]: tie key
    taint: F32  # [lanes]: 0, or NaN where an eligible value is not finite
    tired: F32  # [lanes]: what fatigue takes at this place, inf where nothing may be added
    best_net: F32  # [lanes]
    best_delta: F32  # [lanes]
    chosen: I32  # [lanes]: the best candidate so far, -1 if none
    below_cut: I32  # [lanes]: whether the tie key is below the cut


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
    lanes = _lanes(n_candidates, len(caps.room_channel), len(caps.room_topic))
    for first in range(0, n_members, _LANES):
        n_lanes = min(_LANES, n_members - first)
        past = first + n_lanes
        lanes.taint[:] = np.float32(0.0)
        for k in range(n_candidates):
            _offer_eligible(value[k, first:past], reason[k, first:past], lanes.free[k], lanes.taint)
        for c in range(len(caps.room_channel)):
            _bar_without_room(caps.room_channel[c, first:past], lanes.channel_loss[c])
        for t in range(len(caps.room_topic)):
            _bar_without_room(caps.room_topic[t, first:past], lanes.topic_loss[t])
        for r in range(n_lanes):
            if lanes.taint[r] != np.float32(0.0):
                for k in range(n_candidates):
                    if reason[k, first + r] == 0 and not np.isfinite(value[k, first + r]):
                        return int(k * n_members + first + r)
            lanes.fatigue[r] = fatigue[first + r]
            lanes.room[r] = caps.room_member[first + r]
            lanes.key[r] = tie_keys[first + r]
        _assemble_lanes(lanes, n_lanes, first, 1, terms, caps, first, sets, gains)
    return -1


@kernel
def _lanes(n_candidates: int, n_channels: int, n_topics: int) -> Lanes:
    return Lanes(
        np.empty((n_candidates, _LANES), np.float32),
        np.empty((n_channels, _LANES), np.float32),
        np.empty((n_topics, _LANES), np.float32),
        np.empty(_LANES, np.float32),
        np.empty(_LANES, np.int32),
        np.empty(_LANES, np.uint64),
        np.empty(_LANES, np.float32),
        np.empty(_LANES, np.float32),
        np.empty(_LANES, np.float32),
        np.empty(_LANES, np.float32),
        np.empty(_LANES, np.int32),
        np.empty(_LANES, np.int32),
    )


@kernel
def _offer_eligible(value: F32, reason: U8, free: F32, taint: F32) -> None:
    for r in range(len(value)):
        number = value[r] if reason[r] == 0 else np.float32(0.0)
        taint[r] += number - number
        free[r] = number if reason[r] == 0 else _NEVER


@kernel
def _bar_without_room(room: I16, loss: F32) -> None:
    for r in range(len(room)):
        loss[r] = np.float32(0.0) if room[r] > 0 else np.float32(np.inf)


@kernel
def _assemble_lanes(
    lanes: Lanes,
    n_lanes: int,
    first: int,
    step: int,
    terms: Terms,
    caps: Caps,
    column: int,
    sets: I16,
    gains: F32,
) -> None:
    # Lane r is member first + r*step (step 0: draws of one member) and column + r of sets and gains.
    n_places = len(sets)
    for place in range(n_places):
        for r in range(n_lanes):
            open_place = place < lanes.room[r]
            lanes.tired[r] = lanes.fatigue[r] * np.float32(place) if open_place else np.float32(np.inf)
            lanes.below_cut[r] = (lanes.key[r] | np.uint64(place)) < terms.tie_cut
            lanes.best_net[r] = _NEVER
            lanes.best_delta[r] = _NEVER
            lanes.chosen[r] = -1
        for k in range(len(lanes.free)):
            _compare(
                lanes, n_lanes, np.int32(k), caps.channel[k], caps.topic[k], terms.cost[k], terms.price[k]
            )
        n_added = 0
        for r in range(n_lanes):
            k = lanes.chosen[r]
            sets[place, column + r] = k
            gains[place, column + r] = lanes.best_delta[r] if k >= 0 else np.float32(np.nan)
            if k >= 0:
                n_added += 1
                lanes.free[k, r] = _NEVER
                _use_room(lanes, r, first + r * step, terms.same_topic_penalty, caps, sets, place, column + r)
            else:
                lanes.room[r] = 0
        if n_added == 0:
            sets[place + 1 :, column : column + n_lanes] = -1
            gains[place + 1 :, column : column + n_lanes] = np.float32(np.nan)
            return


@kernel
def _compare(
    lanes: Lanes, n_lanes: int, k: np.int32, channel: int, topic: int, cost: np.float32, price: np.float32
) -> None:
    # Candidate k against the best so far in every lane: without branches, so that it vectorises. A candidate
    # that is barred has delta -inf, and so is never more than the best.
    free, tired = lanes.free[k], lanes.tired
    channel_loss, topic_loss = lanes.channel_loss[channel], lanes.topic_loss[topic]
    best_net, best_delta, chosen, below_cut = lanes.best_net, lanes.best_delta, lanes.chosen, lanes.below_cut
    charge = _charge(cost, price)
    for r in range(n_lanes):
        delta = free[r] - tired[r] - topic_loss[r] - channel_loss[r]
        net = delta - charge
        more = (net > best_net[r]) | ((net == best_net[r]) & (delta > best_delta[r]))
        better = more & _admitted(delta, cost, price, below_cut[r] != 0)
        best_net[r] = net if better else best_net[r]
        best_delta[r] = delta if better else best_delta[r]
        chosen[r] = k if better else chosen[r]


@inline
def _use_room(
    lanes: Lanes, r: int, member: int, penalty: np.float32, caps: Caps, sets: I16, place: int, column: int
) -> None:
    # After sets[place, column] was added to the places before it.
    k = sets[place, column]
    channel, topic = caps.channel[k], caps.topic[k]
    n_channel = 0
    n_topic = 0
    for earlier in range(place + 1):
        c = sets[earlier, column]
        n_channel += caps.channel[c] == channel
        n_topic += caps.topic[c] == topic
    if n_channel >= caps.room_channel[channel, member]:
        lanes.channel_loss[channel, r] = np.float32(np.inf)
    full = n_topic >= caps.room_topic[topic, member]
    lanes.topic_loss[topic, r] = np.float32(np.inf) if full else penalty * np.float32(n_topic)


@kernel
def _gain_rates(gains: F32, sets: I16, cost: F32, rates: F32) -> None:
    for place in range(len(gains)):
        for r in range(gains.shape[1]):
            k = sets[place, r]
            rates[place, r] = _rate(gains[place, r], cost[k]) if k >= 0 else np.float32(np.nan)
