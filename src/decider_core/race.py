"""The exponential race that draws a random set, and the exact probability of its outcome.

The kernels beneath :mod:`decider_core.explore`, which says what they compute and why it is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from decider_core.caps import Caps
from decider_core.compile import F64, I16, I64, U8, U64, inline, kernel
from decider_core.random import _uniform
from decider_core.splitmix import member_state, pair_state


class Open(NamedTuple):
    """The candidates that fit an empty set, and the room left; a count says how many are in use."""

    candidate: I64
    clock: F64
    bit: I64  # 1 << place of a candidate that was chosen, else 0
    channel_left: I64  # [n_channels]: room after what is chosen
    topic_left: I64  # [n_topics]
    chosen: I64  # [max_messages]
    reached: F64  # [2^max_messages]: probability that the first picks are a subset of the chosen


@kernel
def _explore_sets(
    count_key: np.uint64,
    pick_key: np.uint64,
    count_shares: F64,
    weight: F64,
    reason: U8,
    caps: Caps,
    member_keys: U64,
    candidate_keys: U64,
    where: U8,
    sets: I16,
    propensity: F64,
) -> None:
    open_ = _space(weight.size, caps)
    equal = weight.size > 0 and weight.min() == weight.max()
    for r in range(reason.shape[1]):
        if where[r] == 0:
            continue
        n_open = _list_open(r, reason, caps, open_)
        aim = _count(_uniform(member_state(count_key, member_keys[r])), count_shares)
        n_chosen = 0
        if aim > 0:
            state = member_state(pick_key, member_keys[r])
            for j in range(n_open):
                k = open_.candidate[j]
                uniform = _uniform(pair_state(state, candidate_keys[k]))
                # Only the order of the clocks counts, and at equal weights the logarithm does not change it.
                open_.clock[j] = -uniform if equal else -math.log(uniform) / weight[k]
            while n_chosen < min(aim, caps.room_member[r]):
                first = _next(n_open, caps, open_)
                if first < 0:
                    break
                _choose(first, n_chosen, caps, open_)
                sets[n_chosen, r] = open_.candidate[first]
                n_chosen += 1
            for place in range(n_chosen):
                _take_room(place, -1, caps, open_)
        propensity[r] = _propensity(r, n_open, n_chosen, count_shares, weight, caps, open_)


@kernel
def _explore_propensity(
    sets: I16, count_shares: F64, weight: F64, reason: U8, caps: Caps, propensity: F64
) -> None:
    open_ = _space(weight.size, caps)
    for r in range(reason.shape[1]):
        n_open = _list_open(r, reason, caps, open_)
        n_chosen = 0
        possible = True
        for place in range(len(sets)):
            if sets[place, r] >= 0:
                found = -1
                for j in range(n_open):
                    if open_.candidate[j] == sets[place, r] and _fits(j, caps, open_):
                        found = j
                if found < 0 or n_chosen >= caps.room_member[r]:
                    possible = False
                    break
                _choose(found, n_chosen, caps, open_)
                n_chosen += 1
        for place in range(n_chosen):
            _take_room(place, -1, caps, open_)
        propensity[r] = 0.0
        if possible:
            propensity[r] = _propensity(r, n_open, n_chosen, count_shares, weight, caps, open_)


@inline
def _count(uniform: float, count_shares: F64) -> int:
    # The last count of positive share takes what rounding leaves.
    count = 0
    below = 0.0
    for m in range(count_shares.size):
        if count_shares[m] > 0.0 and uniform >= below:
            count = m
        below += count_shares[m]
    return count


@kernel
def _space(n_candidates: int, caps: Caps) -> Open:
    return Open(
        np.empty(n_candidates, np.int64),
        np.empty(n_candidates),
        np.empty(n_candidates, np.int64),
        np.empty(len(caps.room_channel), np.int64),
        np.empty(len(caps.room_topic), np.int64),
        np.empty(caps.max_messages, np.int64),
        np.empty(1 << caps.max_messages),
    )


@kernel
def _list_open(r: int, reason: U8, caps: Caps, open_: Open) -> int:
    candidate, _, bit, channel_left, topic_left = open_[:5]
    channel, topic = caps.channel, caps.topic
    for c in range(channel_left.size):
        channel_left[c] = caps.room_channel[c, r]
    for t in range(topic_left.size):
        topic_left[t] = caps.room_topic[t, r]
    n_open = 0
    if caps.room_member[r] > 0:
        for k in range(len(reason)):
            candidate[n_open] = k
            bit[n_open] = 0
            has_room = (channel_left[channel[k]] > 0) & (topic_left[topic[k]] > 0)
            n_open += (reason[k, r] == 0) & has_room
    return n_open


@kernel
def _next(n_open: int, caps: Caps, open_: Open) -> int:
    # Of the candidates that fit, the one whose clock rings first; -1 if none fits.
    candidate, clock, bit, channel_left, topic_left = open_[:5]
    channel, topic = caps.channel, caps.topic
    first = -1
    earliest = np.inf
    for j in range(n_open):
        c, t = channel[candidate[j]], topic[candidate[j]]
        fits = (bit[j] == 0) & (channel_left[c] > 0) & (topic_left[t] > 0)
        # A clock of tiny weight may be infinite; it rings last, not never.
        if fits & ((clock[j] < earliest) | (first < 0)):
            first, earliest = j, clock[j]
    return first


@inline
def _fits(j: int, caps: Caps, open_: Open) -> bool:
    # Whether the j-th open candidate is not chosen and its channel and topic are not full.
    channel, topic = caps.channel[open_.candidate[j]], caps.topic[open_.candidate[j]]
    return bool((open_.bit[j] == 0) & (open_.channel_left[channel] > 0) & (open_.topic_left[topic] > 0))


@inline
def _choose(j: int, place: int, caps: Caps, open_: Open) -> None:
    open_.bit[j] = 1 << place
    open_.chosen[place] = open_.candidate[j]
    _take_room(place, 1, caps, open_)


@inline
def _take_room(place: int, step: int, caps: Caps, open_: Open) -> None:
    open_.channel_left[caps.channel[open_.chosen[place]]] -= step
    open_.topic_left[caps.topic[open_.chosen[place]]] -= step


@kernel
def _propensity(
    r: int, n_open: int, n_chosen: int, count_shares: F64, weight: F64, caps: Caps, open_: Open
) -> float:
    # Recursion over the subsets of the chosen, in the order of their bits: all smaller ones come before.
    full = (1 << n_chosen) - 1
    open_.reached[: full + 1] = 0.0
    open_.reached[0] = 1.0
    probability = 0.0
    for bits in range(full + 1):
        n_subset = 0
        for place in range(n_chosen):
            if bits >> place & 1:
                _take_room(place, 1, caps, open_)
                n_subset += 1
        left = 0.0
        if n_subset < caps.room_member[r]:
            left = _weight_left(n_open, bits, weight, caps, open_)
        for place in range(n_chosen):
            if bits >> place & 1:
                _take_room(place, -1, caps, open_)
            else:
                open_.reached[bits | 1 << place] += open_.reached[bits] * weight[open_.chosen[place]] / left
        if bits == full:
            share = count_shares[n_chosen]
            if left == 0.0:
                for m in range(n_chosen + 1, count_shares.size):
                    share += count_shares[m]
            probability = open_.reached[full] * share
    return probability


@kernel
def _weight_left(n_open: int, bits: int, weight: F64, caps: Caps, open_: Open) -> float:
    # Of the candidates that fit after the subset `bits`, which the rooms left take into account.
    candidate, _, bit, channel_left, topic_left = open_[:5]
    channel, topic = caps.channel, caps.topic
    total = 0.0
    for j in range(n_open):
        k = candidate[j]
        c, t = channel[k], topic[k]
        fits = (bit[j] & bits == 0) & (channel_left[c] > 0) & (topic_left[t] > 0)
        total += weight[k] if fits else 0.0
    return total
