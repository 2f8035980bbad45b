"""What was sent: before the snapshot, member after member, and since then, a linked list per member.

Each source has its own vocabulary of what was sent; its tables say what that is in the catalog of now.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import I32, I64, U8, kernel
from decider_core.contracts import ContractError, check_array, check_output, check_range
from decider_core.rows import follow_each_other

SEND: Final = 0
OPT_OUT: Final = 1


class SnapshotSends(NamedTuple):
    """Sends before the snapshot: those of row i are entries offsets[i] to offsets[i + 1]."""

    offsets: I64
    """i64[n_rows + 1]"""
    time_micros: I64
    """i64[n_entries]: microseconds since 1970, UTC."""
    code: I32
    """i32[n_entries]: what was sent, an index into the three tables."""
    type: I32
    """i32[n_codes]: message type in this catalog, -1 if it has none."""
    topic: I32
    """i32[n_codes]: likewise."""
    channel: I32
    """i32[n_codes]: likewise."""


class LiveView(NamedTuple):
    """Sends and opt-outs since the snapshot at one moment: a linked list per row.

    Entries are never changed once linked, and growing makes new arrays, so a view stays whole for ever.
    Entries that are appended later may show in it: readers leave out those whose sequence is above the one
    they decide at, before they look at anything else of them.
    """

    head: I32
    """i32[n_rows]: its newest entry, -1 if none."""
    next: I32
    """i32[n_entries]: the entry before it, -1 if none."""
    code: I32
    """i32[n_entries]: what was sent, or what an opt-out refers to."""
    kind: U8
    """u8[n_entries]: SEND or OPT_OUT."""
    occasion: I32
    """i32[n_entries]: when; entries that came together have one, an index into the next two."""
    time_micros: I64
    """i64[n_occasions]"""
    sequence: I64
    """i64[n_occasions]: place in the log."""


class LiveSends(NamedTuple):
    """A :class:`LiveView`, field by field, and what its codes are in a catalog."""

    head: I32
    next: I32
    code: I32
    kind: U8
    occasion: I32
    time_micros: I64
    sequence: I64
    type: I32
    """i32[n_codes]: message type in this catalog, -1 if it has none."""
    topic: I32
    """i32[n_codes]: likewise."""
    channel: I32
    """i32[n_codes]: likewise."""


def mark_later(newest: I32, occasion: I32, sequence: I64, until_sequence: int, mark: int) -> None:
    """Put `mark` in place of entries that came after a place in the log.

    Parameters
    ----------
    newest : i32[n_members]
        Of each member an entry, -1 for none. Written.
    occasion, sequence
        See :class:`LiveSends`.
    until_sequence
        The last place that is not too late.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or an entry lies outside.
    """
    newest = check_output("newest", newest, np.int32, (len(newest),))
    occasion = check_array("occasion", occasion, np.int32, (None,))
    sequence = check_array("sequence", sequence, np.int64, (None,))
    check_range("newest", newest, -1, occasion.size - 1)
    wrong = _mark_later(newest, occasion, sequence, int(until_sequence), np.int32(mark))
    if wrong >= 0:
        raise ContractError(f"occasion must be in [0, {sequence.size - 1}], got another at {newest[wrong]}")


def changed_places(rows: I64, head: I32, before: I32) -> I64:
    """Return the places of rows whose newest entry is another than before, i64.

    Parameters
    ----------
    rows : i64[n_members]
    head : i32[n_rows]
        The newest entry of each row.
    before : i32[n_members]
        What it was.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or a row lies outside.
    """
    rows = check_array("rows", rows, np.int64, (None,))
    head = check_array("head", head, np.int32, (None,))
    before = check_array("before", before, np.int32, rows.shape)
    check_range("rows", rows, 0, head.size - 1)
    return _changed_places(rows, head, before)


@kernel
def _changed_places(rows: I64, head: I32, before: I32) -> I64:
    # Almost never is there one: all are compared at once before any is looked for.
    n_changed = 0
    if rows.size > 0 and follow_each_other(rows):
        now = head[rows[0] : rows[0] + rows.size]
        for i in range(before.size):
            n_changed += now[i] != before[i]
    else:
        for i in range(before.size):
            n_changed += head[rows[i]] != before[i]
    places = np.empty(n_changed, np.int64)
    n = 0
    for i in range(before.size if n_changed > 0 else 0):
        if head[rows[i]] != before[i]:
            places[n] = i
            n += 1
    return places


@kernel
def _mark_later(newest: I32, occasion: I32, sequence: I64, until_sequence: int, mark: np.int32) -> int:
    # Returns -1, or the first whose entry has an occasion outside.
    for i in range(newest.size):
        entry = newest[i]
        if entry >= 0:
            when = occasion[entry]
            if when < 0 or when >= sequence.size:
                return i
            if sequence[when] > until_sequence:
                newest[i] = mark
    return -1


def check_sources(snapshot: SnapshotSends, live: LiveSends) -> tuple[SnapshotSends, LiveSends]:
    """Return both with dtypes and shapes checked; what the entries point to is checked where it is read."""
    live = check_live(live)
    return check_snapshot(snapshot, live.head.size), live


def check_snapshot(snapshot: SnapshotSends, n_rows: int) -> SnapshotSends:
    """Return the sends before the snapshot of so many rows, checked as by :func:`check_sources`."""
    n_sent, n_codes = np.size(snapshot.time_micros), np.size(snapshot.type)
    return SnapshotSends(
        check_array("offsets", snapshot.offsets, np.int64, (n_rows + 1,)),
        check_array("time_micros", snapshot.time_micros, np.int64, (n_sent,)),
        check_array("code", snapshot.code, np.int32, (n_sent,)),
        check_array("type", snapshot.type, np.int32, (n_codes,)),
        check_array("topic", snapshot.topic, np.int32, (n_codes,)),
        check_array("channel", snapshot.channel, np.int32, (n_codes,)),
    )


def check_live(live: LiveSends) -> LiveSends:
    """Return the sends since the snapshot, checked as by :func:`check_sources`."""
    n_entries, n_occasions, n_codes = np.size(live.next), np.size(live.sequence), np.size(live.type)
    return LiveSends(
        check_array("head", live.head, np.int32, (None,)),
        check_array("next", live.next, np.int32, (n_entries,)),
        check_array("live code", live.code, np.int32, (n_entries,)),
        check_array("kind", live.kind, np.uint8, (n_entries,)),
        check_array("occasion", live.occasion, np.int32, (n_entries,)),
        check_array("live time_micros", live.time_micros, np.int64, (n_occasions,)),
        check_array("sequence", live.sequence, np.int64, (n_occasions,)),
        check_array("live type", live.type, np.int32, (n_codes,)),
        check_array("live topic", live.topic, np.int32, (n_codes,)),
        check_array("live channel", live.channel, np.int32, (n_codes,)),
    )
