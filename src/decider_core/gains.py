"""What each message of a given set adds at its place: the same arithmetic as assembly, without choosing."""

from __future__ import annotations

import numpy as np

from decider_core.caps import check_sets
from decider_core.compile import F32, I16, I32, kernel
from decider_core.contracts import check_array, check_number


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
    sets = check_array("sets", sets, np.int16, (None, None))
    value = check_array("value", value, np.float32, (None, sets.shape[1]))
    fatigue = check_array("fatigue", fatigue, np.float32, (sets.shape[1],))
    topic = check_array("topic", topic, np.int32, (value.shape[0],))
    penalty = check_number("same_topic_penalty", same_topic_penalty, 0.0, float(np.finfo(np.float32).max))
    check_sets(sets, value.shape[0])
    gains = np.full(sets.shape, np.nan, np.float32)
    _path_gains(sets, value, fatigue, np.float32(penalty), topic, gains)
    return gains


@kernel
def _path_gains(sets: I16, value: F32, fatigue: F32, penalty: np.float32, topic: I32, gains: F32) -> None:
    for place in range(sets.shape[0]):
        for r in range(sets.shape[1]):
            k = sets[place, r]
            if k < 0:
                continue
            n_same = 0
            for earlier in range(place):
                n_same += topic[sets[earlier, r]] == topic[k]
            gains[place, r] = value[k, r] - fatigue[r] * np.float32(place) - penalty * np.float32(n_same)
