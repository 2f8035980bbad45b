"""The exponential race that draws random sets, of a block of members at a time.

The kernels beneath :mod:`decider_core.explore`, which says what they compute and why it is exact.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import Caps
from decider_core.compile import F64, I16, I64, U8, U32, U64, kernel
from decider_core.orders import LANES, Block, fill, new_block, new_orders, put_propensities, take_room
from decider_core.random import _uniform
from decider_core.splitmix import member_state, pair_state

RUNNERS: Final = 64
"""Lanes whose clocks run together: few enough for the nearest cache."""


class Race(NamedTuple):
    """The clocks of some lanes of a block, and who is ahead."""

    goal: I64
    """i64[RUNNERS]: how many to pick."""
    state: U64
    """u64[RUNNERS]: of the picks."""
    clock: F64
    """f64[n_candidates, RUNNERS]: NaN where the candidate does not take part, or is picked."""
    earliest: F64
    """f64[RUNNERS]"""
    first: I64
    """i64[RUNNERS]: the candidate whose clock that is, -1 if there is none."""


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
    members = _drawn(where)
    block = new_block(min(members.size, LANES), weight.size, caps)
    orders = new_orders(count_shares, weight, caps)
    race = _new_race(min(members.size, RUNNERS), weight.size)
    for first in range(0, members.size, LANES):
        some = members[first : first + LANES]
        fill(some, reason, caps, block)
        for lane in range(0, some.size, RUNNERS):
            past = min(lane + RUNNERS, some.size)
            _start(lane, past, some, count_key, pick_key, count_shares, member_keys, block, race)
            _ring(lane, past, weight, orders.equal, candidate_keys, block, race)
            _run(lane, past, some, caps, block, race, sets)
        put_propensities(some, weight, caps, block, orders, propensity)


@kernel
def _drawn(where: U8) -> U32:
    members = np.empty(where.size, np.uint32)
    n = 0
    for r in range(where.size):
        members[n] = r
        n += where[r] != 0
    return members[:n]


@kernel
def _new_race(n_lanes: int, n_candidates: int) -> Race:
    return Race(
        np.empty(n_lanes, np.int64),
        np.empty(n_lanes, np.uint64),
        np.empty((n_candidates, n_lanes)),
        np.empty(n_lanes),
        np.empty(n_lanes, np.int64),
    )


@kernel
def _start(
    lane: int,
    past: int,
    members: U32,
    count_key: np.uint64,
    pick_key: np.uint64,
    count_shares: F64,
    member_keys: U64,
    block: Block,
    race: Race,
) -> None:
    members, room, goal, state = members[lane:past], block.room[lane:past], race.goal, race.state
    for i in range(past - lane):
        key = member_keys[members[i]]
        uniform = _uniform(member_state(count_key, key))
        # The last count of positive share takes what rounding leaves.
        count = 0
        below = 0.0
        for m in range(count_shares.size):
            if (count_shares[m] > 0.0) & (uniform >= below):
                count = m
            below += count_shares[m]
        goal[i] = min(count, room[i])
        state[i] = member_state(pick_key, key)


@kernel
def _ring(
    lane: int, past: int, weight: F64, equal: bool, candidate_keys: U64, block: Block, race: Race
) -> None:
    goal, state = race.goal, race.state
    for k in range(weight.size):
        fits, clock = block.fits[k, lane:past], race.clock[k]
        if equal:
            # Only the order of the clocks counts, and at equal weights the logarithm does not change it.
            for i in range(past - lane):
                uniform = _uniform(pair_state(state[i], candidate_keys[k]))
                clock[i] = -uniform if fits[i] != 0 else np.nan
        else:
            for i in range(past - lane):
                clock[i] = np.nan
                if fits[i] != 0 and goal[i] > 0:
                    uniform = _uniform(pair_state(state[i], candidate_keys[k]))
                    clock[i] = -math.log(uniform) / weight[k]


@kernel
def _run(lane: int, past: int, members: U32, caps: Caps, block: Block, race: Race, sets: I16) -> None:
    goal, first, clock = race.goal, race.first, race.clock
    members, least, n_chosen = members[lane:past], block.least[lane:past], block.n_chosen[lane:past]
    for place in range(len(sets)):
        tight = False
        n_going = 0
        for i in range(past - lane):
            # Whoever got nothing for the place before gets nothing for this one.
            going = (goal[i] > place) & (n_chosen[i] == place)
            n_going += going
            tight |= going & (least[i] <= place)
        if n_going == 0:
            break
        _find_first(lane, past, tight, caps, block, race)
        for i in range(past - lane):
            k = first[i]
            if goal[i] > place and n_chosen[i] == place and k >= 0:
                sets[place, members[i]] = k
                clock[k, i] = np.nan
                block.chosen[place, lane + i] = k
                n_chosen[i] += 1
                take_room(lane + i, k, 1, caps, block)
    for i in range(past - lane):
        for place in range(n_chosen[i]):
            take_room(lane + i, block.chosen[place, lane + i], -1, caps, block)


@kernel
def _find_first(lane: int, past: int, tight: bool, caps: Caps, block: Block, race: Race) -> None:
    # Of the candidates that fit, the one whose clock rings first; tight: some channel or topic may be full by now.
    earliest, first = race.earliest, race.first
    earliest[:] = np.inf
    first[:] = -1
    for k in range(len(race.clock)):
        clock = race.clock[k]
        channel_left = block.channel_left[caps.channel[k], lane:past]
        topic_left = block.topic_left[caps.topic[k], lane:past]
        for i in range(past - lane):
            rings = clock[i] == clock[i]
            if tight:
                rings &= (channel_left[i] > 0) & (topic_left[i] > 0)
            # A clock of tiny weight may be infinite; it rings last, not never.
            ahead = rings & ((clock[i] < earliest[i]) | (first[i] < 0))
            earliest[i] = clock[i] if ahead else earliest[i]
            first[i] = k if ahead else first[i]
