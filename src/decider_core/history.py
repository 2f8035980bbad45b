"""What members were sent lately: suppressions, opt-outs, and the room that is left under the caps."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core import reasons
from decider_core.caps import MAX_MESSAGES, Caps
from decider_core.compile import I16, I64, U8, inline, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_output, check_range
from decider_core.history_rules import EITHER as EITHER
from decider_core.history_rules import LONGEST_SECONDS, check_history
from decider_core.history_rules import NO_SCOPE as NO_SCOPE
from decider_core.history_rules import SAME_TOPIC as SAME_TOPIC
from decider_core.history_rules import SAME_TYPE as SAME_TYPE
from decider_core.history_rules import Candidates as Candidates
from decider_core.history_rules import HistoryRules as HistoryRules
from decider_core.sends import OPT_OUT as OPT_OUT
from decider_core.sends import SEND as SEND
from decider_core.sends import LiveSends as LiveSends
from decider_core.sends import SnapshotSends as SnapshotSends
from decider_core.sends import check_sources

_LONG_AGO: Final = np.int64(np.iinfo(np.int64).min)
_MICROS: Final = 1_000_000


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
    Time is in proportion to the sends of these members, and to n_members*(n_candidates +
    n_channels + n_topics).
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
        decision_time_micros = np.full(n_members, decision_time_micros, np.int64)
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
    _bar_without_room(caps, reason)
    return caps


class Recent(NamedTuple):
    """What one member was sent within the windows."""

    n_member: I64  # [1]
    n_channel: I64
    n_topic: I64
    last_topic: I64  # time of the latest send of each topic
    last_type: I64
    opted_out: U8  # [n_channels]


@inline
def _since(now: int, seconds: int) -> int:
    return now - seconds * _MICROS


@inline
def _bar(reason: U8, k: int, r: int, code: int) -> None:
    if reason[k, r] == reasons.ELIGIBLE or reason[k, r] > code:
        reason[k, r] = code


@inline
def _room(left: int, most: int) -> int:
    return min(most, max(0, left))


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
    _leave_all_room(rules, caps)
    n_channels, n_topics = rules.channel_cap.size, rules.topic_cap.size
    recent = Recent(
        np.empty(1, np.int64),
        np.empty(n_channels, np.int64),
        np.empty(n_topics, np.int64),
        np.empty(n_topics, np.int64),
        np.empty(n_types, np.int64),
        np.empty(n_channels, np.uint8),
    )
    for r in range(rows.size):
        row, now = rows[r], times[r]
        if sent.offsets[row] == sent.offsets[row + 1] and live.head[row] < 0:
            continue
        _forget(recent)
        if not (
            _count_snapshot(row, now, sent, rules, recent)
            and _count_live(row, now, live, until_sequence, rules, recent)
        ):
            return r
        _bar_similar(r, now, candidates, rules, recent, reason)
        _leave_room(r, rules, recent, caps)
    return -1


@kernel
def _leave_all_room(rules: HistoryRules, caps: Caps) -> None:
    # What members have who were sent nothing.
    caps.room_member[:] = _most(rules.member_cap, caps.max_messages)
    for c in range(rules.channel_cap.size):
        caps.room_channel[c] = _most(rules.channel_cap[c], caps.max_messages)
    for t in range(rules.topic_cap.size):
        caps.room_topic[t] = _most(rules.topic_cap[t], caps.max_messages)


@inline
def _most(cap: int, max_messages: int) -> int:
    return max_messages if cap < 0 else min(cap, max_messages)


@kernel
def _forget(recent: Recent) -> None:
    recent.n_member[:] = 0
    recent.n_channel[:] = 0
    recent.n_topic[:] = 0
    recent.last_topic[:] = _LONG_AGO
    recent.last_type[:] = _LONG_AGO
    recent.opted_out[:] = 0


# The three that count return False where an index points outside.


@kernel
def _count_snapshot(row: int, now: int, sent: SnapshotSends, rules: HistoryRules, recent: Recent) -> bool:
    begin, end = sent.offsets[row], sent.offsets[row + 1]
    if begin < 0 or end < begin or end > sent.code.size:
        return False
    for entry in range(begin, end):
        code = sent.code[entry]
        if code < 0 or code >= sent.type.size:
            return False
        time = sent.time_micros[entry]
        if not _count_send(sent.type[code], sent.topic[code], sent.channel[code], time, now, rules, recent):
            return False
    return True


@kernel
def _count_live(
    row: int, now: int, live: LiveSends, until_sequence: int, rules: HistoryRules, recent: Recent
) -> bool:
    entry = live.head[row]
    n_left = live.next.size
    while entry >= 0:
        # A list longer than there are entries runs in a circle.
        if entry >= live.next.size or n_left == 0:
            return False
        n_left -= 1
        occasion = live.occasion[entry]
        if occasion < 0 or occasion >= live.sequence.size:
            return False
        # Entries that were appended meanwhile may show: the tables do not know their codes yet.
        if live.sequence[occasion] <= until_sequence:
            code = live.code[entry]
            if code < 0 or code >= live.type.size or live.channel[code] >= recent.n_channel.size:
                return False
            channel, time = live.channel[code], live.time_micros[occasion]
            if live.kind[entry] == OPT_OUT:
                if channel >= 0:
                    recent.opted_out[channel] = 1
            elif not _count_send(live.type[code], live.topic[code], channel, time, now, rules, recent):
                return False
        entry = live.next[entry]
    return True


@kernel
def _count_send(
    type_: int, topic: int, channel: int, time: int, now: int, rules: HistoryRules, recent: Recent
) -> bool:
    # Types beyond those of the candidates suppress nothing.
    if channel >= recent.n_channel.size or topic >= recent.n_topic.size:
        return False
    if time > now:
        return True
    if time > _since(now, rules.member_window_seconds):
        recent.n_member[0] += 1
    if channel >= 0 and time > _since(now, rules.channel_window_seconds[channel]):
        recent.n_channel[channel] += 1
    if topic >= 0:
        recent.last_topic[topic] = max(recent.last_topic[topic], time)
        if time > _since(now, rules.topic_window_seconds[topic]):
            recent.n_topic[topic] += 1
    if 0 <= type_ < recent.last_type.size:
        recent.last_type[type_] = max(recent.last_type[type_], time)
    return True


@kernel
def _bar_similar(
    r: int, now: int, candidates: Candidates, rules: HistoryRules, recent: Recent, reason: U8
) -> None:
    for k in range(len(reason)):
        if recent.opted_out[candidates.channel[k]] != 0:
            _bar(reason, k, r, reasons.CONSENT)
        scope = rules.suppress_scope[k]
        since = _since(now, rules.suppress_seconds[k])
        topic = scope & SAME_TOPIC != 0 and recent.last_topic[candidates.topic[k]] > since
        kind = scope & SAME_TYPE != 0 and recent.last_type[candidates.type[k]] > since
        if topic or kind:
            _bar(reason, k, r, reasons.SUPPRESSED)


@kernel
def _leave_room(r: int, rules: HistoryRules, recent: Recent, caps: Caps) -> None:
    most = caps.max_messages
    if rules.member_cap >= 0:
        caps.room_member[r] = _room(rules.member_cap - recent.n_member[0], most)
    for c in range(rules.channel_cap.size):
        if rules.channel_cap[c] >= 0:
            caps.room_channel[c, r] = _room(rules.channel_cap[c] - recent.n_channel[c], most)
    for t in range(rules.topic_cap.size):
        if rules.topic_cap[t] >= 0:
            caps.room_topic[t, r] = _room(rules.topic_cap[t] - recent.n_topic[t], most)


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
