"""What each member of a block was sent within the windows, counted from both sources."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import I64, U8, kernel
from decider_core.history_rules import HistoryRules
from decider_core.sends import OPT_OUT, LiveSends, SnapshotSends

LONGEST_BLOCK: Final = 128
"""Members of a block: what is counted of them stays in the nearest cache."""

_LONG_AGO: Final = np.int64(np.iinfo(np.int64).min)
_MICROS: Final = 1_000_000


class Recent(NamedTuple):
    """What the members of a block were sent. A member has a row in each but the windows.

    In `n_sent` and `window_micros` there is a place for all sends to the member, one for each channel, one for each
    topic; in `latest` one for each topic, one for each type.
    """

    n_sent: I64
    """i64[LONGEST_BLOCK, 1 + n_channels + n_topics]: sends within the windows."""
    window_micros: I64
    """i64[1 + n_channels + n_topics]"""
    latest: I64
    """i64[LONGEST_BLOCK, n_topics + n_types]: when the latest was sent."""
    opted_out: U8
    """u8[LONGEST_BLOCK, n_channels]"""


@kernel
def new_recent(rules: HistoryRules, n_types: int) -> Recent:
    """Return room for a block, to be filled again and again."""
    n_channels, n_topics = rules.channel_cap.size, rules.topic_cap.size
    window_micros = np.empty(1 + n_channels + n_topics, np.int64)
    window_micros[0] = rules.member_window_seconds * _MICROS
    for c in range(n_channels):
        window_micros[1 + c] = rules.channel_window_seconds[c] * _MICROS
    for t in range(n_topics):
        window_micros[1 + n_channels + t] = rules.topic_window_seconds[t] * _MICROS
    return Recent(
        n_sent=np.empty((LONGEST_BLOCK, window_micros.size), np.int64),
        window_micros=window_micros,
        latest=np.empty((LONGEST_BLOCK, n_topics + n_types), np.int64),
        opted_out=np.empty((LONGEST_BLOCK, n_channels), np.uint8),
    )


# The two that count take the arrays out of their tuples once a block: each time counts a reference, which would cost
# more than all that is done for a message.


@kernel
def count_snapshot(rows: I64, times: I64, sent: SnapshotSends, recent: Recent) -> int:
    """Begin with what the members of a block were sent before the snapshot.

    Parameters
    ----------
    rows : i64[n_members]
        At most LONGEST_BLOCK.
    times : i64[n_members]
        Decision time of each, in microseconds.
    sent
        The sends.
    recent
        Written.

    Returns
    -------
    -1, or the first member whose sends point outside.
    """
    n_sent, window_micros, latest, opted_out = recent
    offsets, time_micros, code = sent.offsets, sent.time_micros, sent.code
    type_, topic, channel = sent.type, sent.topic, sent.channel
    for i in range(rows.size):
        _forget(n_sent[i], latest[i], opted_out[i])
        now, begin, end = times[i], offsets[rows[i]], offsets[rows[i] + 1]
        if begin < 0 or end < begin or end > code.size:
            return i
        for entry in range(begin, end):
            what = code[entry]
            if what < 0 or what >= type_.size:
                return i
            if not _count_send(
                type_[what], topic[what], channel[what], time_micros[entry], now,
                opted_out.shape[1], window_micros, n_sent[i], latest[i],
            ):  # fmt: skip
                return i
    return -1


@kernel
def count_live(rows: I64, times: I64, live: LiveSends, until_sequence: int, recent: Recent) -> int:
    """Add what they were sent since then, and what they opted out of, up to a place in the log.

    Parameters and what it returns are those of :func:`count_snapshot`.
    """
    n_sent, window_micros, latest, opted_out = recent
    following, code, kind, occasion = live.next, live.code, live.kind, live.occasion
    time_micros, sequence = live.time_micros, live.sequence
    head, type_, topic, channel = live.head, live.type, live.topic, live.channel
    for i in range(rows.size):
        now, entry, n_left = times[i], head[rows[i]], following.size
        while entry >= 0:
            # A list longer than there are entries runs in a circle.
            if entry >= following.size or n_left == 0:
                return i
            n_left -= 1
            when = occasion[entry]
            if when < 0 or when >= sequence.size:
                return i
            # Entries that were appended meanwhile may show: the tables do not know their codes yet.
            if sequence[when] <= until_sequence:
                what = code[entry]
                if what < 0 or what >= type_.size or channel[what] >= opted_out.shape[1]:
                    return i
                if kind[entry] == OPT_OUT:
                    if channel[what] >= 0:
                        opted_out[i, channel[what]] = 1
                elif not _count_send(
                    type_[what], topic[what], channel[what], time_micros[when], now,
                    opted_out.shape[1], window_micros, n_sent[i], latest[i],
                ):  # fmt: skip
                    return i
            entry = following[entry]
    return -1


@kernel
def _forget(n_sent: I64, latest: I64, opted_out: U8) -> None:
    for place in range(n_sent.size):
        n_sent[place] = 0
    for place in range(latest.size):
        latest[place] = _LONG_AGO
    for c in range(opted_out.size):
        opted_out[c] = 0


@kernel
def _count_send(
    type_: int,
    topic: int,
    channel: int,
    time: int,
    now: int,
    n_channels: int,
    window_micros: I64,
    n_sent: I64,
    latest: I64,
) -> bool:
    # Returns False where channel or topic are none of the rules'.
    n_topics = n_sent.size - 1 - n_channels
    if channel >= n_channels or topic >= n_topics:
        return False
    if time > now:
        return True
    n_sent[0] += time > now - window_micros[0]
    if channel >= 0:
        n_sent[1 + channel] += time > now - window_micros[1 + channel]
    if topic >= 0:
        place = 1 + n_channels + topic
        n_sent[place] += time > now - window_micros[place]
        latest[topic] = max(latest[topic], time)
    # Types beyond those of the candidates suppress nothing.
    if 0 <= type_ < latest.size - n_topics:
        latest[n_topics + type_] = max(latest[n_topics + type_], time)
    return True
