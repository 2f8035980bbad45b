"""Greedy message sets: under a price, with fatigue, a penalty for one topic twice, and caps.

Starts from the empty set and adds, one at a time, the candidate that is worth most after its price, as long
as it is admitted at that price and no cap binds. The price decides in one function,
:func:`decider_core.admission.is_admitted`.
"""

from __future__ import annotations

import numpy as np

from decider_core.caps import MAX_MESSAGES, Terms, check_caps, check_fatigue, check_terms
from decider_core.caps import Caps as Caps
from decider_core.choice import GROUP, LANES, offer
from decider_core.compile import F32, I16, U8, U64, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.lanes import assemble_lanes, copy_lanes, new_lanes, set_terms


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


@kernel
def _assemble(
    value: F32, reason: U8, fatigue: F32, terms: Terms, tie_keys: U64, caps: Caps, sets: I16, gains: F32
) -> int:
    # Returns -1, or the flat index of an eligible value that is not finite.
    n_candidates, n_members = value.shape
    n_topics = len(caps.room_topic)
    lanes = new_lanes(n_candidates, len(caps.room_channel), n_topics)
    level = set_terms(terms, lanes)
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
                copy_lanes(value[k, first:past], last_value[k])
                copy_lanes(reason[k, first:past], last_reason[k])
            if n_candidates > 0:
                wrong = offer(last_value, last_reason, lanes.free, GROUP)
        elif n_candidates > 0:
            wrong = offer(value[:, first:past], reason[:, first:past], lanes.free, n_lanes)
        if wrong != 0:
            return _find_wrong(value, reason, first, past)
        copy_lanes(fatigue[first:past], lanes.fatigue)
        copy_lanes(caps.room_member[first:past], lanes.room)
        copy_lanes(tie_keys[first:past], lanes.key)
        tight = _least(caps.room_channel, first, past) < caps.max_messages
        if tight:
            for c in range(len(caps.room_channel)):
                copy_lanes(caps.room_channel[c, first:past], lanes.room_channel[c])
        themed = bool(terms.same_topic_penalty > np.float32(0.0))
        if not themed:
            themed = _least(caps.room_topic, first, past) < caps.max_messages
        if themed:
            for t in range(n_topics):
                copy_lanes(caps.room_topic[t, first:past], lanes.room_topic[t])
        assemble_lanes(lanes, tight, themed, level, terms, caps, sets[:, first:past], gains[:, first:past])
        first = past
    return -1


@kernel
def _find_wrong(value: F32, reason: U8, first: int, past: int) -> int:
    for k in range(len(value)):
        for r in range(first, past):
            if reason[k, r] == 0 and not np.isfinite(value[k, r]):
                return int(k * value.shape[1] + r)
    return -1


@kernel
def _least(room: I16, first: int, past: int) -> int:
    least = np.int16(MAX_MESSAGES)
    for c in range(len(room)):
        row = room[c, first:past]
        for r in range(len(row)):
            least = min(least, row[r])
    return int(least)
