"""New sends, put at the head of their members' lists."""

from __future__ import annotations

import numpy as np

from decider_core.caps import check_sets
from decider_core.compile import I16, I32, I64, kernel
from decider_core.contracts import ContractError, check_array, check_number, check_output, check_range
from decider_core.sends import SEND, LiveView


def link_entries(rows: I64, first: int, head: I32, following: I32) -> None:
    """Put new entries at the head of their rows' lists, the oldest first.

    Parameters
    ----------
    rows : i64[n]
        Row of each new entry; one may come several times.
    first
        Place of the first of them among the entries.
    head : i32[n_rows]
        Written: the newest entry of each row, -1 if none.
    following : i32[n_entries]
        Written: the entry before each new one, -1 if none.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, or a row or an entry lies outside.
    """
    head = check_output("head", head, np.int32, (len(head),))
    following = check_output("following", following, np.int32, (len(following),))
    rows = check_array("rows", rows, np.int64, (None,))
    check_range("rows", rows, 0, head.size - 1)
    check_range("first", np.array([first, first + rows.size]), 0, following.size)
    _link_entries(rows, first, head, following)


def check_writable(live: LiveView) -> LiveView:
    """Return the lists as they are written to, checked once for many calls of :func:`append_sets`.

    Raises
    ------
    ContractError
        If an array has another dtype or shape, or may not be written.
    """
    n_entries, n_occasions = len(live.next), len(live.time_micros)
    return LiveView(
        check_output("head", live.head, np.int32, (len(live.head),)),
        check_output("next", live.next, np.int32, (n_entries,)),
        check_output("live code", live.code, np.int32, (n_entries,)),
        check_output("kind", live.kind, np.uint8, (n_entries,)),
        check_output("occasion", live.occasion, np.int32, (n_entries,)),
        check_output("live time_micros", live.time_micros, np.int64, (n_occasions,)),
        check_output("live sequence", live.sequence, np.int64, (n_occasions,)),
    )


def append_sets(
    sets: I16,
    rows: I64,
    codes: I32,
    time_micros: I64,
    sequence: I64,
    first: tuple[int, int],
    live: LiveView,
) -> tuple[int, int]:
    """Put the sends of message sets at the head of their rows' lists, member after member.

    Parameters
    ----------
    sets : i16[max_messages, n_members]
        Candidates in order, -1 in empty places.
    rows : i64[n_members]
        One may come several times.
    codes : i32[n_candidates]
        What the history calls each candidate.
    time_micros, sequence : i64[n_members] or i64[1]
        Of each member's sends, or of all: then they are one occasion.
    first
        Places of the first send among the entries, and of its occasion among the occasions.
    live
        From :func:`check_writable`; written.

    Returns
    -------
    How many entries and occasions there are now.

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, a candidate or a row lies outside, or there is no room; nothing is
        written then.
    """
    sets = check_array("sets", sets, np.int16, (None, None))
    n_members = sets.shape[1]
    rows = check_array("rows", rows, np.int64, (n_members,))
    codes = check_array("codes", codes, np.int32, (None,))
    time_micros = check_array("time_micros", time_micros, np.int64, (None,))
    sequence = check_array("sequence", sequence, np.int64, time_micros.shape)
    if time_micros.size not in (1, n_members):
        raise ContractError(f"time_micros must have 1 or {n_members} numbers, got {time_micros.size}")
    entry, occasion = int(first[0]), int(first[1])
    n_sends = _count_sends(sets.reshape(-1), rows, codes.size, len(live.head))
    if n_sends < 0:
        check_sets(sets, codes.size)
        check_range("rows", rows, 0, len(live.head) - 1)
    last = entry + n_sends
    check_number("first entry", entry, 0, len(live.next))
    check_number("last entry", last, 0, len(live.next))
    check_number("first occasion", occasion, 0, len(live.sequence))
    check_number("last occasion", occasion + time_micros.size, 0, len(live.sequence))
    if time_micros.size == n_members:
        return last, _append_sets(sets, rows, codes, time_micros, sequence, entry, occasion, live)
    if n_sends == 0:
        return last, occasion
    live.time_micros[occasion], live.sequence[occasion] = time_micros[0], sequence[0]
    _append_together(sets, rows, codes, entry, last, occasion, live)
    return last, occasion + 1


@kernel
def _append_sets(
    sets: I16,
    rows: I64,
    codes: I32,
    time_micros: I64,
    sequence: I64,
    first: int,
    occasion: int,
    live: LiveView,
) -> int:
    # Returns how many occasions there are now.
    i, n_occasions = np.int32(first), np.int32(occasion)
    for r in range(sets.shape[1]):
        is_new = True
        for place in range(sets.shape[0]):
            k = sets[place, r]
            if k < 0:
                continue
            if is_new:
                live.time_micros[n_occasions], live.sequence[n_occasions] = time_micros[r], sequence[r]
                n_occasions = np.int32(n_occasions + 1)
                is_new = False
            live.code[i], live.kind[i] = codes[k], np.uint8(SEND)
            live.occasion[i] = np.int32(n_occasions - 1)
            # The head last: whoever follows it meanwhile finds a whole entry.
            live.next[i] = live.head[rows[r]]
            live.head[rows[r]] = i
            i = np.int32(i + 1)
    return int(n_occasions)


@kernel
def _append_together(
    sets: I16, rows: I64, codes: I32, first: int, last: int, when: int, live: LiveView
) -> None:
    # Of one occasion. How many messages a set has is nothing a processor can guess, so nothing is asked: of an empty
    # place an entry is written too, and written over by the next one.
    head, code, following = live.head, live.code, live.next
    live.occasion[first:last] = np.int32(when)
    # Fresh memory is zero, and so is SEND: what is not written to takes no memory.
    kind, n_other = live.kind[first:last], 0
    for i in range(kind.size):
        n_other += kind[i] != SEND
    if n_other > 0:
        kind[:] = np.uint8(SEND)
    # Unsigned: an index that may be negative would be looked at as one that counts from the end.
    entry, end = np.uint32(first), np.uint32(last)
    for r in range(rows.size):
        row = np.uint64(rows[r])
        newest = head[row]
        for place in range(sets.shape[0]):
            k = sets[place, r]
            if entry < end:
                code[entry] = codes[np.uint32(max(k, np.int16(0)))]
                following[entry] = newest
            newest = np.int32(entry) if k >= 0 else newest
            entry = np.uint32(entry + np.uint32(k >= 0))
        # The head last: whoever follows it meanwhile finds whole entries.
        head[row] = newest


@kernel
def _count_sends(sets: I16, rows: I64, n_candidates: int, n_rows: int) -> int:
    # Returns -1 where a candidate or a row lies outside.
    n_sends = n_wrong = 0
    for i in range(sets.size):
        n_sends += sets[i] >= 0
        n_wrong += (sets[i] < -1) | (sets[i] >= n_candidates)
    for i in range(rows.size):
        n_wrong += (rows[i] < 0) | (rows[i] >= n_rows)
    return n_sends if n_wrong == 0 else -1


@kernel
def _link_entries(rows: I64, first: int, head: I32, following: I32) -> None:
    for i in range(rows.size):
        # The head last: whoever follows it meanwhile finds a whole entry.
        following[first + i] = head[rows[i]]
        head[rows[i]] = first + i
