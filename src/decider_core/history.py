"""What members were sent lately: suppressions, opt-outs, and the room that is left under the caps."""

from __future__ import annotations

from typing import Final

import numpy as np

from decider_core import reasons
from decider_core.caps import MAX_MESSAGES, Caps
from decider_core.compile import I16, I32, I64, U8, inline, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_output, check_range
from decider_core.history_rules import EITHER as EITHER
from decider_core.history_rules import LONGEST_SECONDS, check_history
from decider_core.history_rules import NO_SCOPE as NO_SCOPE
from decider_core.history_rules import SAME_TOPIC as SAME_TOPIC
from decider_core.history_rules import SAME_TYPE as SAME_TYPE
from decider_core.history_rules import Candidates as Candidates
from decider_core.history_rules import HistoryRules as HistoryRules
from decider_core.recent import LONGEST_BLOCK, Recent, count_live, count_snapshot, new_recent
from decider_core.rows import follow_each_other
from decider_core.sends import OPT_OUT as OPT_OUT
from decider_core.sends import SEND as SEND
from decider_core.sends import LiveSends as LiveSends
from decider_core.sends import SnapshotSends as SnapshotSends
from decider_core.sends import check_sources

_MICROS: Final = 1_000_000
_STRETCH: Final = 256
"""Members of whom it is asked together whether any was sent something."""


def apply_history(
    rows: I64,
    decision_time_micros: int | I64,
    snapshot_sends: SnapshotSends,
    live_sends: LiveSends,
    until_sequence: int,
    candidates: Candidates,
    rules: HistoryRules,
    max_messages: int,
    reason: U8,
) -> Caps:
    """Bar candidates by what the members were sent, and return the room that is left.

    Parameters
    ----------
    rows : i64[n_members]
        Where the members stand in both sources.
    decision_time_micros
        Microseconds since 1970, one for all or i64[n_members]. A send counts in a window of w seconds if it
        lies in ``(t - w, t]``; later sends do not count.
    snapshot_sends, live_sends
        The sends.
    until_sequence
        Live entries with a higher sequence did not exist yet: a replay sees what the decision saw.
    candidates
        What the candidates are.
    rules
        Suppressions and caps.
    max_messages
        Places in a set, 1 to 8; no room is larger.
    reason : u8[n_candidates, n_members]
        Written: a candidate that history bars gets the reason with the lowest code among those that hold and
        the one it has. CONSENT: the member opted out of its channel, at whatever time. SUPPRESSED: something
        similar was sent. MEMBER_CAP, CHANNEL_CAP, TOPIC_CAP: no room.

    Returns
    -------
    Caps
        ``room = min(max_messages, max(0, cap - sends in the window))``.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or points outside. Of the sources, only what is read is
        checked.

    Notes
    -----
    Time is in proportion to the sends of these members, to n_members*(n_channels + n_topics), and to n_candidates
    for each member that something is barred from.
    """
    rows = check_array("rows", rows, np.int64, (None,))
    snapshot_sends, live_sends = check_sources(snapshot_sends, live_sends)
    check_range("rows", rows, 0, live_sends.head.size - 1)
    candidates, rules, n_types = check_history(candidates, rules)
    n_candidates, n_members = candidates.channel.size, rows.size
    if not 1 <= max_messages <= MAX_MESSAGES:
        raise ContractError(f"max_messages must be in [1, {MAX_MESSAGES}], got {max_messages}")
    latest = LONGEST_SECONDS * _MICROS
    if not isinstance(decision_time_micros, np.ndarray):
        check_number("decision_time_micros", decision_time_micros, -latest, latest)
        times = check_array(
            "decision_time_micros", np.array([decision_time_micros], np.int64), np.int64, (1,)
        )
    else:
        check_range("decision_time_micros", decision_time_micros, -latest, latest)
        times = check_array("decision_time_micros", decision_time_micros, np.int64, (n_members,))
    reason = check_output("reason", reason, np.uint8, (n_candidates, n_members))
    caps = Caps(
        candidates.channel,
        candidates.topic,
        np.empty(n_members, np.int16),
        np.empty((rules.channel_cap.size, n_members), np.int16),
        np.empty((rules.topic_cap.size, n_members), np.int16),
        max_messages,
    )
    wrong = _apply_history(
        rows,
        times,
        snapshot_sends,
        live_sends,
        int(until_sequence),
        candidates,
        rules,
        n_types,
        caps,
        reason,
    )
    if wrong >= 0:
        raise ContractError(f"sends of row {rows[wrong]} must lie within their arrays, got an index outside")
    return caps


@kernel
def _apply_history(
    rows: I64,
    times: I64,
    sent: SnapshotSends,
    live: LiveSends,
    until_sequence: int,
    candidates: Candidates,
    rules: HistoryRules,
    n_types: int,
    caps: Caps,
    reason: U8,
) -> int:
    # Returns -1, or the member whose sends point outside.
    is_full = _leave_all_room(rules, caps)
    sent_to = _sent_to(rows, sent.offsets, live.head)
    recent = new_recent(rules, n_types)
    some, then = np.empty(LONGEST_BLOCK, np.int64), np.empty(LONGEST_BLOCK, np.int64)
    for first in range(0, sent_to.size, LONGEST_BLOCK):
        places = sent_to[first : first + LONGEST_BLOCK]
        for i in range(places.size):
            some[i], then[i] = rows[places[i]], times[places[i] if times.size > 1 else 0]
        wrong = count_snapshot(some[: places.size], then, sent, recent)
        if wrong < 0:
            wrong = count_live(some[: places.size], then, live, until_sequence, recent)
        if wrong >= 0:
            return int(places[wrong])
        _bar_opted_out(places, candidates, recent, reason)
        _bar_similar(places, then, candidates, rules, recent, reason)
        is_full |= _leave_room(places, rules, recent, caps)
    if is_full:
        _bar_without_room(caps, reason)
    return -1


@kernel
def _sent_to(rows: I64, offsets: I64, head: I32) -> I64:
    # Places of the members who were sent something: looked for one by one only where a stretch has some.
    places = np.empty(rows.size, np.int64)
    n = 0
    for first in range(0, rows.size, _STRETCH):
        stretch = rows[first : first + _STRETCH]
        if not _any_sent(stretch, offsets, head):
            continue
        for i in range(stretch.size):
            row = stretch[i]
            # Those who were sent nothing are written over by the next.
            places[n] = first + i
            n += (offsets[row] != offsets[row + 1]) | (head[row] >= 0)
    return places[:n]


@kernel
def _any_sent(rows: I64, offsets: I64, head: I32) -> bool:
    # Of rows that follow each other everything is read in the order in which it lies, a vector at a time.
    n_sent = 0
    if follow_each_other(rows):
        begin = offsets[rows[0] : rows[0] + rows.size]
        end = offsets[rows[0] + 1 : rows[0] + 1 + rows.size]
        heads = head[rows[0] : rows[0] + rows.size]
        for i in range(rows.size):
            n_sent += (begin[i] != end[i]) | (heads[i] >= 0)
    else:
        for i in range(rows.size):
            row = rows[i]
            n_sent += (offsets[row] != offsets[row + 1]) | (head[row] >= 0)
    return n_sent > 0


@kernel
def _leave_all_room(rules: HistoryRules, caps: Caps) -> bool:
    # What members have who were sent nothing. Returns whether some have no room even so.
    is_full = False
    most = _most(rules.member_cap, caps.max_messages)
    is_full |= most <= 0
    caps.room_member[:] = most
    for c in range(rules.channel_cap.size):
        most = _most(rules.channel_cap[c], caps.max_messages)
        is_full |= most <= 0
        caps.room_channel[c] = most
    for t in range(rules.topic_cap.size):
        most = _most(rules.topic_cap[t], caps.max_messages)
        is_full |= most <= 0
        caps.room_topic[t] = most
    return is_full


@inline
def _most(cap: int, max_messages: int) -> int:
    return max_messages if cap < 0 else min(cap, max_messages)


@inline
def _bar(reason: U8, k: int, r: int, code: int) -> None:
    if reason[k, r] == reasons.ELIGIBLE or reason[k, r] > code:
        reason[k, r] = code


@kernel
def _bar_opted_out(places: I64, candidates: Candidates, recent: Recent, reason: U8) -> None:
    channel, opted_out = candidates.channel, recent.opted_out
    for i in range(places.size):
        n_out = 0
        for c in range(opted_out.shape[1]):
            n_out += opted_out[i, c]
        for k in range(len(reason) if n_out > 0 else 0):
            if opted_out[i, channel[k]] != 0:
                _bar(reason, k, places[i], reasons.CONSENT)


@kernel
def _bar_similar(
    places: I64, times: I64, candidates: Candidates, rules: HistoryRules, recent: Recent, reason: U8
) -> None:
    scope, seconds, topic, type_ = (
        rules.suppress_scope,
        rules.suppress_seconds,
        candidates.topic,
        candidates.type,
    )
    n_topics, latest = rules.topic_cap.size, recent.latest
    for k in range(len(reason)):
        by_topic, by_type = scope[k] & SAME_TOPIC != 0, scope[k] & SAME_TYPE != 0
        if not (by_topic or by_type):
            continue
        for i in range(places.size):
            begin = times[i] - seconds[k] * _MICROS
            is_similar = by_topic and latest[i, topic[k]] > begin
            if is_similar or (by_type and latest[i, n_topics + type_[k]] > begin):
                _bar(reason, k, places[i], reasons.SUPPRESSED)


@kernel
def _leave_room(places: I64, rules: HistoryRules, recent: Recent, caps: Caps) -> bool:
    # Returns whether none is left somewhere.
    n_channels, n_sent, most = rules.channel_cap.size, recent.n_sent, caps.max_messages
    is_full = _take_room(rules.member_cap, 0, n_sent, places, most, caps.room_member)
    for c in range(n_channels):
        is_full |= _take_room(rules.channel_cap[c], 1 + c, n_sent, places, most, caps.room_channel[c])
    for t in range(rules.topic_cap.size):
        is_full |= _take_room(
            rules.topic_cap[t], 1 + n_channels + t, n_sent, places, most, caps.room_topic[t]
        )
    return is_full


@kernel
def _take_room(cap: int, column: int, n_sent: I64, places: I64, most: int, room: I16) -> bool:
    if cap < 0:
        return False
    is_full = False
    for i in range(places.size):
        left = min(most, max(0, cap - n_sent[i, column]))
        room[places[i]] = left
        is_full |= left <= 0
    return is_full


@kernel
def _bar_without_room(caps: Caps, reason: U8) -> None:
    no_channel, no_topic = _any_full(caps.room_channel), _any_full(caps.room_topic)
    nobody = caps.room_member.size == 0 or caps.room_member.min() > 0
    for k in range(len(reason)):
        if nobody and not no_channel[caps.channel[k]] and not no_topic[caps.topic[k]]:
            continue
        in_channel, in_topic = caps.room_channel[caps.channel[k]], caps.room_topic[caps.topic[k]]
        for r in range(reason.shape[1]):
            if in_topic[r] <= 0:
                _bar(reason, k, r, reasons.TOPIC_CAP)
            if in_channel[r] <= 0:
                _bar(reason, k, r, reasons.CHANNEL_CAP)
            if caps.room_member[r] <= 0:
                _bar(reason, k, r, reasons.MEMBER_CAP)


@kernel
def _any_full(room: I16) -> U8:
    # Of each channel or topic: whether it has no room left for some member.
    full = np.zeros(len(room), np.uint8)
    for row in range(len(room)):
        least = np.int16(1)
        for r in range(room.shape[1]):
            least = min(least, room[row, r])
        full[row] = least <= 0
    return full
