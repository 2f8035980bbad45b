"""Greedy sets of a block of members, or of draws of one member: the next best candidate of each, place after place."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from decider_core.admission import charge_of, least_admitted
from decider_core.caps import MAX_MESSAGES, Caps, Terms
from decider_core.choice import LANES, best, best_level, best_level_limited, best_limited
from decider_core.compile import F32, I16, I32, U64, inline, kernel

_NEVER: Final = np.float32(-np.inf)


class Lanes(NamedTuple):
    """A block of members, or of draws of one member; the caller fills what bears a star.

    The rooms of channels only if the block is tight, those of topics only if it is themed: see
    :func:`assemble_lanes`.
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


@kernel
def new_lanes(n_candidates: int, n_channels: int, n_topics: int) -> Lanes:
    """Return a block to be filled, again and again."""
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
def set_terms(terms: Terms, lanes: Lanes) -> bool:
    """Fill in costs and prices; return whether all are the same: the order is then that of the gains."""
    n_other = 0
    for k in range(terms.cost.size):
        n_other += (terms.cost[k] != terms.cost[0]) | (terms.price[k] != terms.price[0])
    for k in range(terms.cost.size if n_other > 0 else min(terms.cost.size, 1)):
        cost, price = terms.cost[k], terms.price[k]
        lanes.charge[k] = charge_of(cost, price)
        lanes.least[0, k] = least_admitted(cost, price, False)
        lanes.least[1, k] = least_admitted(cost, price, True)
    return n_other == 0


@inline
def copy_lanes(numbers: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Copy numbers to the first places, in the dtype that is there."""
    for r in range(len(numbers)):
        out[r] = numbers[r]


@kernel
def assemble_lanes(
    lanes: Lanes, tight: bool, themed: bool, level: bool, terms: Terms, caps: Caps, sets: I16, gains: F32
) -> None:
    """Assemble the set of every lane.

    tight: some channel may run out of room. themed: some topic may, or has its penalty. level: all
    candidates cost the same at the same price. What does not hold is not looked at.
    """
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
        copy_lanes(lanes.chosen[:n_lanes], sets[place])
        copy_lanes(lanes.best[:n_lanes], gains[place])
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
