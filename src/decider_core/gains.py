"""What each message of a given set adds at its place: the same arithmetic as assembly, without choosing."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.caps import LARGEST, check_sets
from decider_core.compile import F32, I16, I32, U8, U32, inline, kernel
from decider_core.contracts import check_array, check_number, check_output

_BLOCK: Final = 1024
"""Members whose sets are looked at together."""


class PathMoments(NamedTuple):
    """The posterior along given sets, f32[max_messages, n_members] each, NaN in empty places."""

    mean: F32
    sd: F32
    gain: F32 | None
    """The marginal gains of the means; none where they were not asked for."""
    total: F32
    """f32[n_members]: their sum, place after place; 0 for an empty set."""


def path_moments(
    sets: I16,
    mean: F32,
    sd: F32,
    fatigue: F32,
    same_topic_penalty: float,
    topic: I32,
    with_gains: bool = True,
) -> PathMoments:
    """Return mean and sd of the candidates of given sets, and the marginal gains of the means.

    Parameters are those of :func:`path_gains`, with the moments f32[n_candidates, n_members] in place of values.
    with_gains: whether each gain is wanted, and not only the sum of a member's.
    """
    sets, fatigue, topic, penalty = _checked(sets, fatigue, same_topic_penalty, topic)
    mean = check_array("mean", mean, np.float32, (topic.size, sets.shape[1]))
    sd = check_array("sd", sd, np.float32, mean.shape)
    along = np.empty((2, *sets.shape), np.float32)
    gain = np.empty((len(sets) if with_gains else 0, sets.shape[1]), np.float32)
    total = np.empty(sets.shape[1], np.float32)
    _path_moments(sets, mean, sd, fatigue, penalty, topic, along[0], along[1], gain, total)
    return PathMoments(along[0], along[1], gain if with_gains else None, total)


def path_gains(sets: I16, value: F32, fatigue: F32, same_topic_penalty: float, topic: I32) -> F32:
    """Return the marginal gains along sets that are given, such as drawn ones.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates in order, -1 in empty places; an empty place is followed by empty places only.
    value : f32[n_candidates, n_members]
        Value of each candidate alone; NaN gives NaN.
    fatigue : f32[n_members]
    same_topic_penalty
        What each earlier message of the same topic takes off.
    topic : i32[n_candidates]

    Returns
    -------
    f32[max_messages, n_members]
        ``value - fatigue*place - same_topic_penalty*#{same topic before}``, NaN in empty places; the same
        bits as :func:`decider_core.assemble.assemble` gives for a set that it chose.
    """
    sets, fatigue, topic, penalty = _checked(sets, fatigue, same_topic_penalty, topic)
    value = check_array("value", value, np.float32, (topic.size, sets.shape[1]))
    gains = np.full(sets.shape, np.nan, np.float32)
    _path_gains(sets, value, fatigue, penalty, topic, gains)
    return gains


def put_drawn(
    sets: I16,
    gains: F32,
    drawn: U8,
    held_out: U8,
    drawn_sets: I16,
    value: F32,
    fatigue: F32,
    same_topic_penalty: float,
    topic: I32,
) -> None:
    """Put sets that were drawn in the place of those that were assembled, with their gains; and none where held out.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Written: what was assembled, where neither applies.
    gains : f32[max_messages, n_members]
        Written: its marginal gains.
    drawn, held_out : u8[n_members]
        Not 0 where the set was drawn, and where the member gets nothing.
    drawn_sets : i16[max_messages, n_members]
    value, fatigue, same_topic_penalty, topic
        Those of :func:`path_gains`.
    """
    sets = check_output("sets", sets, np.int16, sets.shape)
    gains = check_output("gains", gains, np.float32, sets.shape)
    drawn_sets, fatigue, topic, penalty = _checked(drawn_sets, fatigue, same_topic_penalty, topic)
    check_array("drawn_sets", drawn_sets, np.int16, sets.shape)
    drawn = check_array("drawn", drawn, np.uint8, (sets.shape[1],))
    held_out = check_array("held_out", held_out, np.uint8, drawn.shape)
    value = check_array("value", value, np.float32, (topic.size, sets.shape[1]))
    _put_drawn(sets, gains, drawn, held_out, drawn_sets, value, fatigue, penalty, topic)


def _checked(
    sets: I16, fatigue: F32, same_topic_penalty: float, topic: I32
) -> tuple[I16, F32, I32, np.float32]:
    sets = check_array("sets", sets, np.int16, (None, None))
    fatigue = check_array("fatigue", fatigue, np.float32, (sets.shape[1],))
    topic = check_array("topic", topic, np.int32, (None,))
    penalty = check_number("same_topic_penalty", same_topic_penalty, 0.0, LARGEST)
    check_sets(sets, topic.size)
    return sets, fatigue, topic, np.float32(penalty)


@kernel
def _path_moments(
    sets: I16,
    of_mean: F32,
    of_sd: F32,
    fatigue: F32,
    penalty: np.float32,
    topic: I32,
    mean: F32,
    sd: F32,
    gain: F32,
    total: F32,
) -> None:
    members, n_same, unwanted = (
        np.empty(_BLOCK, np.uint32),
        np.zeros(_BLOCK, np.int32),
        np.empty(_BLOCK, np.float32),
    )
    total[:] = np.float32(0.0)
    for first in range(0, total.size, _BLOCK):
        past = min(first + _BLOCK, total.size)
        for place in range(len(sets)):
            chosen = sets[place, first:past]
            n = _list_held(first, chosen, members)
            mean[place, first:past] = np.float32(np.nan)
            sd[place, first:past] = np.float32(np.nan)
            _look_up(members[:n], sets[place], of_mean, mean[place])
            _look_up(members[:n], sets[place], of_sd, sd[place])
            if penalty > np.float32(0.0):
                for r in members[:n]:
                    n_same[r - first] = _count_same(topic, sets, place, sets[place, r], r)
            added = gain[place, first:past] if len(gain) > 0 else unwanted
            _add_gains(
                chosen,
                place,
                mean[place, first:past],
                fatigue[first:past],
                penalty,
                n_same,
                added,
                total[first:past],
            )


@kernel
def _list_held(first: int, chosen: I16, members: U32) -> int:
    n = 0
    for i in range(chosen.size):
        members[n] = first + i
        n += chosen[i] >= 0
    return n


@kernel
def _look_up(members: U32, chosen: I16, of: F32, out: F32) -> None:
    # A loop without a branch: the processor waits for many numbers at a time.
    for r in members:
        out[r] = of[np.uint16(chosen[r]), r]


@kernel
def _add_gains(
    chosen: I16,
    place: int,
    value: F32,
    fatigue: F32,
    penalty: np.float32,
    n_same: I32,
    gain: F32,
    total: F32,
) -> None:
    for i in range(chosen.size):
        gain[i] = _add(value[i], fatigue[i], penalty, place, n_same[i])
    for i in range(chosen.size):
        total[i] += gain[i] if chosen[i] >= 0 else np.float32(0.0)


@kernel
def _path_gains(sets: I16, value: F32, fatigue: F32, penalty: np.float32, topic: I32, gains: F32) -> None:
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            if k >= 0:
                gains[place, r] = _gain(value, fatigue, penalty, topic, sets, place, k, r)


@inline
def _gain(
    value: F32, fatigue: F32, penalty: np.float32, topic: I32, sets: I16, place: int, k: int, r: int
) -> np.float32:
    # What candidate k adds at a place, after what is in the places before it.
    return _add(value[k, r], fatigue[r], penalty, place, _count_same(topic, sets, place, k, r))


@inline
def _count_same(topic: I32, sets: I16, place: int, k: int, r: int) -> int:
    n_same = 0
    for earlier in range(place):
        n_same += topic[sets[earlier, r]] == topic[k]
    return n_same


@inline
def _add(value: np.float32, fatigue: np.float32, penalty: np.float32, place: int, n_same: int) -> np.float32:
    gain: np.float32 = value - fatigue * np.float32(place) - penalty * np.float32(n_same)
    return gain


@kernel
def _put_drawn(
    sets: I16,
    gains: F32,
    drawn: U8,
    held_out: U8,
    drawn_sets: I16,
    value: F32,
    fatigue: F32,
    penalty: np.float32,
    topic: I32,
) -> None:
    members, some = np.empty(drawn.size, np.uint32), np.empty(drawn.size, np.uint32)
    n = 0
    for r in range(drawn.size):
        members[n] = r
        n += int((drawn[r] != 0) | (held_out[r] != 0))
    for place in range(len(sets)):
        n_some = 0
        for r in members[:n]:
            k = np.int16(-1) if held_out[r] != 0 else drawn_sets[place, r]
            sets[place, r] = k
            gains[place, r] = np.float32(np.nan)
            some[n_some] = r
            n_some += int(k >= 0)
        _look_up(some[:n_some], sets[place], value, gains[place])
        for r in some[:n_some]:
            n_same = _count_same(topic, sets, place, sets[place, r], r) if penalty > np.float32(0.0) else 0
            gains[place, r] = _add(gains[place, r], fatigue[r], penalty, place, n_same)
