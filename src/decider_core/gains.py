"""What each message of a given set adds at its place: the same arithmetic as assembly, without choosing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from decider_core.caps import LARGEST, check_sets
from decider_core.compile import F32, I16, I32, U8, inline, kernel
from decider_core.contracts import check_array, check_number, check_output


class PathMoments(NamedTuple):
    """The posterior along given sets, f32[max_messages, n_members] each, NaN in empty places."""

    mean: F32
    sd: F32
    gain: F32
    """The marginal gains of the means."""
    total: F32
    """f32[n_members]: their sum, place after place; 0 for an empty set."""


def path_moments(
    sets: I16, mean: F32, sd: F32, fatigue: F32, same_topic_penalty: float, topic: I32
) -> PathMoments:
    """Return mean and sd of the candidates of given sets, and the marginal gains of the means.

    Parameters are those of :func:`path_gains`, with the moments f32[n_candidates, n_members] in place of values.
    """
    sets, fatigue, topic, penalty = _checked(sets, fatigue, same_topic_penalty, topic)
    mean = check_array("mean", mean, np.float32, (topic.size, sets.shape[1]))
    sd = check_array("sd", sd, np.float32, mean.shape)
    along, total = np.empty((3, *sets.shape), np.float32), np.empty(sets.shape[1], np.float32)
    path = PathMoments(along[0], along[1], along[2], total)
    _path_moments(sets, mean, sd, fatigue, penalty, topic, *path)
    return path


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
    total[:] = np.float32(0.0)
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            if k >= 0:
                mean[place, r], sd[place, r] = of_mean[k, r], of_sd[k, r]
                gain[place, r] = _gain(of_mean, fatigue, penalty, topic, sets, place, k, r)
                total[r] += gain[place, r]
            else:
                mean[place, r] = sd[place, r] = gain[place, r] = np.float32(np.nan)


@kernel
def _path_gains(sets: I16, value: F32, fatigue: F32, penalty: np.float32, topic: I32, gains: F32) -> None:
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            if sets[place, r] >= 0:
                gains[place, r] = _gain(value, fatigue, penalty, topic, sets, place, sets[place, r], r)


@inline
def _gain(
    value: F32, fatigue: F32, penalty: np.float32, topic: I32, sets: I16, place: int, k: int, r: int
) -> np.float32:
    # What candidate k adds at a place, after what is in the places before it.
    n_same = 0
    for earlier in range(place):
        n_same += topic[sets[earlier, r]] == topic[k]
    gain: np.float32 = value[k, r] - fatigue[r] * np.float32(place) - penalty * np.float32(n_same)
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
    for r in range(sets.shape[1]):
        if drawn[r] == 0 and held_out[r] == 0:
            continue
        for place in range(sets.shape[0]):
            sets[place, r] = -1 if held_out[r] else drawn_sets[place, r]
            gains[place, r] = np.float32(np.nan)
            if sets[place, r] >= 0:
                gains[place, r] = _gain(value, fatigue, penalty, topic, sets, place, sets[place, r], r)
