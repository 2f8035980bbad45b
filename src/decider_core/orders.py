"""The exact probability of a message set that was drawn at random: over all the orders in which it may come about.

The kernels beneath :mod:`decider_core.explore`, which says what they compute. Members are looked at in blocks, side by
side: a candidate's row of an array is then read in one go, whoever of the members were drawn.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import MAX_MESSAGES, Caps
from decider_core.compile import F64, I16, I32, I64, U8, U32, inline, kernel

LANES: Final = 1024
"""Members of a block: so many that their rows are read in stretches, which the processor fetches ahead."""


class Block(NamedTuple):
    """Some members, one a lane: what fits their empty sets, the room they have, and what was chosen."""

    fits: U8
    """u8[n_candidates, n_lanes]: 1 where the candidate fits an empty set."""
    n_fits: I32
    """i32[n_lanes]: how many do."""
    room: I16
    """i16[n_lanes]: messages that the member may get."""
    channel_left: I16
    """i16[n_channels, n_lanes]: room after what is chosen."""
    topic_left: I16
    """i16[n_topics, n_lanes]"""
    channel_open: U8
    """u8[n_channels, n_lanes]: 1 where the member and the channel have room."""
    topic_open: U8
    """u8[n_topics, n_lanes]: 1 where the topic has room."""
    least: I16
    """i16[n_lanes]: the least room of a channel or topic that has any."""
    chosen: I64
    """i64[max_messages, n_lanes]"""
    n_chosen: I64
    """i64[n_lanes]"""


class Orders(NamedTuple):
    """What does not depend on the member, and space for what depends on one."""

    equal: bool
    """Whether all candidates have one weight."""
    total: F64
    """f64[n_candidates + 1]: so many equal weights, added one after another."""
    of_equals: F64
    """f64[n_candidates + 1, max_messages + 1]: the chance that so many picks are one set of that size, where so many
    equals fit and nothing else binds; NaN in rows that were not asked for yet."""
    share: F64
    """f64[2, max_messages + 1]: of aiming at so many messages; in row 1, at so many or more."""
    place: I64
    """i64[n_candidates]: bit of the place that holds the candidate, else 0."""
    channel_fits: U8
    """u8[n_channels, 2^max_messages]: 1 where the channel has room after a subset of the chosen."""
    topic_fits: U8
    """u8[n_topics, 2^max_messages]"""
    left: F64
    """f64[2^max_messages]: weight of all that fit after a subset."""
    reached: F64
    """f64[2^max_messages]: probability that the first picks are a subset."""


@kernel
def _explore_propensity(
    sets: I16, count_shares: F64, weight: F64, reason: U8, caps: Caps, propensity: F64
) -> None:
    n_members = propensity.size
    members = np.arange(n_members).astype(np.uint32)
    block, orders = (
        new_block(min(n_members, LANES), weight.size, caps),
        new_orders(count_shares, weight, caps),
    )
    for first in range(0, n_members, LANES):
        some = members[first : first + LANES]
        fill(some, reason, caps, block)
        for i in range(some.size):
            _choose_all(i, sets[:, first + i], caps, block)
        put_propensities(some, weight, caps, block, orders, propensity)


@kernel
def new_block(n_lanes: int, n_candidates: int, caps: Caps) -> Block:
    """Return a block to be filled, again and again."""
    return Block(
        np.empty((n_candidates, n_lanes), np.uint8),
        np.empty(n_lanes, np.int32),
        np.empty(n_lanes, np.int16),
        np.empty((len(caps.room_channel), n_lanes), np.int16),
        np.empty((len(caps.room_topic), n_lanes), np.int16),
        np.empty((len(caps.room_channel), n_lanes), np.uint8),
        np.empty((len(caps.room_topic), n_lanes), np.uint8),
        np.empty(n_lanes, np.int16),
        np.empty((caps.max_messages, n_lanes), np.int64),
        np.empty(n_lanes, np.int64),
    )


@kernel
def new_orders(count_shares: F64, weight: F64, caps: Caps) -> Orders:
    """Return what is asked for with every member."""
    n_candidates, n_subsets = weight.size, 1 << caps.max_messages
    equal = n_candidates > 0 and weight.min() == weight.max()
    total = np.zeros(n_candidates + 1)
    share = np.empty((2, count_shares.size))
    if equal:
        for n in range(n_candidates):
            total[n + 1] = total[n] + weight[0]
    for m in range(count_shares.size):
        share[:, m] = count_shares[m]
        for more in range(m + 1, count_shares.size):
            share[1, m] += count_shares[more]
    return Orders(
        equal,
        total,
        np.full((n_candidates + 1, count_shares.size), np.nan),
        share,
        np.zeros(n_candidates, np.int64),
        np.empty((len(caps.room_channel), n_subsets), np.uint8),
        np.empty((len(caps.room_topic), n_subsets), np.uint8),
        np.empty(n_subsets),
        np.empty(n_subsets),
    )


@kernel
def fill(members: U32, reason: U8, caps: Caps, block: Block) -> None:
    """Fill in the lanes of some members, of whose sets nothing is chosen.

    Members are unsigned: an index that may be negative would be looked at as one that counts from the end.
    """
    n = members.size
    room, least, n_fits = block.room[:n], block.least[:n], block.n_fits[:n]
    block.n_chosen[:n] = 0
    n_fits[:] = 0
    least[:] = MAX_MESSAGES
    for i in range(n):
        room[i] = caps.room_member[members[i]]
    for c in range(len(caps.room_channel)):
        _look_up(caps.room_channel[c], members, block.channel_left[c], block.channel_open[c], least)
        block.channel_open[c, :n] &= room > 0
    for t in range(len(caps.room_topic)):
        _look_up(caps.room_topic[t], members, block.topic_left[t], block.topic_open[t], least)
    for k in range(len(reason)):
        _find_eligible(
            reason[k], members, block.channel_open[caps.channel[k]], block.topic_open[caps.topic[k]], block.fits[k],
            n_fits,
        )  # fmt: skip


@kernel
def _look_up(rooms: I16, members: U32, left: I16, is_open: U8, least: I16) -> None:
    for i in range(members.size):
        left[i] = rooms[members[i]]
    for i in range(members.size):
        is_open[i] = left[i] > 0
        least[i] = min(least[i], left[i]) if left[i] > 0 else least[i]


@kernel
def _find_eligible(codes: U8, members: U32, channel_open: U8, topic_open: U8, fits: U8, n_fits: I32) -> None:
    for i in range(members.size):
        fits[i] = codes[members[i]]
    for i in range(members.size):
        fits[i] = (fits[i] == 0) & channel_open[i] & topic_open[i]
        n_fits[i] += fits[i]


@inline
def take_room(i: int, k: int, step: int, caps: Caps, block: Block) -> None:
    """Take the room of a candidate in its channel and topic, or give it back."""
    block.channel_left[caps.channel[k], i] -= step
    block.topic_left[caps.topic[k], i] -= step


@kernel
def _choose_all(i: int, candidates: I16, caps: Caps, block: Block) -> None:
    # Choose a set, or note with -1 messages that it cannot be drawn.
    n_chosen = 0
    possible = True
    for place in range(candidates.size):
        k = candidates[place]
        if k < 0:
            continue
        possible = n_chosen < block.room[i] and block.fits[k, i] != 0
        for before in range(n_chosen):
            possible &= block.chosen[before, i] != k
        possible &= block.channel_left[caps.channel[k], i] > 0 and block.topic_left[caps.topic[k], i] > 0
        if not possible:
            break
        block.chosen[n_chosen, i] = k
        take_room(i, k, 1, caps, block)
        n_chosen += 1
    for place in range(n_chosen):
        take_room(i, block.chosen[place, i], -1, caps, block)
    block.n_chosen[i] = n_chosen if possible else -1


@kernel
def put_propensities(
    members: U32, weight: F64, caps: Caps, block: Block, orders: Orders, propensity: F64
) -> None:
    """Put the probability of drawing what is chosen in each lane, of which no room is taken."""
    room, least, n_fits, all_chosen = block.room, block.least, block.n_fits, block.n_chosen
    of_equals, share, reached = orders.of_equals, orders.share, orders.reached
    for i in range(members.size):
        n_chosen = all_chosen[i]
        if n_chosen < 0:
            propensity[members[i]] = 0.0
            continue
        # Whether caps of channels and topics bind none of the subsets that have a next pick.
        if orders.equal and least[i] > min(n_chosen, room[i] - 1):
            if np.isnan(of_equals[n_fits[i], 0]):
                _sum_orders_of_equals(n_fits[i], weight[0], orders)
            ended = n_chosen == room[i] or n_chosen == n_fits[i]
            chance = of_equals[n_fits[i], n_chosen]
        else:
            ended = _sum_orders(i, weight, caps, block, orders) == 0.0 or n_chosen == room[i]
            chance = reached[(1 << n_chosen) - 1]
        propensity[members[i]] = chance * share[1 if ended else 0, n_chosen]


@kernel
def _sum_orders_of_equals(n_fits: int, weight: float, orders: Orders) -> None:
    # The recursion of _sum_orders where all subsets of one size are alike: the same sums, each made once.
    chances = orders.of_equals[n_fits]
    chances[0] = 1.0
    for size in range(min(n_fits, chances.size - 1)):
        term = chances[size] * weight / orders.total[n_fits - size]
        chances[size + 1] = 0.0
        for _ in range(size + 1):
            chances[size + 1] += term


@kernel
def _sum_orders(i: int, weight: F64, caps: Caps, block: Block, orders: Orders) -> float:
    # Recursion over the subsets of the chosen, in the order of their bits: all smaller ones come before. Returns the
    # weight of what fits after all are chosen, but for the member's room.
    n_chosen = block.n_chosen[i]
    chosen, left, reached = block.chosen[:n_chosen, i], orders.left, orders.reached
    n_subsets = 1 << n_chosen
    _find_fits(n_subsets, caps.channel, chosen, block.channel_left[:, i], orders.channel_fits)
    _find_fits(n_subsets, caps.topic, chosen, block.topic_left[:, i], orders.topic_fits)
    for place in range(n_chosen):
        orders.place[chosen[place]] = 1 << place
    left[:n_subsets] = 0.0
    for k in range(weight.size):
        if block.fits[k, i] != 0:
            in_channel, in_topic = orders.channel_fits[caps.channel[k]], orders.topic_fits[caps.topic[k]]
            for subset in range(n_subsets):
                fits = (in_channel[subset] & in_topic[subset]) != 0 and orders.place[k] & subset == 0
                left[subset] += weight[k] if fits else 0.0
    reached[:n_subsets] = 0.0
    reached[0] = 1.0
    for subset in range(n_subsets):
        for place in range(n_chosen):
            if subset >> place & 1 == 0:
                reached[subset | 1 << place] += reached[subset] * weight[chosen[place]] / left[subset]
    for place in range(n_chosen):
        orders.place[chosen[place]] = 0
    return float(left[n_subsets - 1])


@kernel
def _find_fits(n_subsets: int, kind: I32, chosen: I64, room: I16, fits: U8) -> None:
    # Where a channel, or topic, has room for one more after each subset of the chosen.
    for c in range(len(fits)):
        for subset in range(n_subsets):
            n = 0
            for place in range(chosen.size):
                n += (kind[chosen[place]] == c) & (subset >> place & 1)
            fits[c, subset] = n < room[c]
