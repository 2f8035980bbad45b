"""From member ids to rows: sorted keys and a binary search, exact also where hashes collide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decider_core.rows import find_rows

Array = npt.NDArray[Any]
SameId = Callable[[Array, Array], Array]
"""(places of wanted ids, rows of members) -> bool: is it the same id?"""

_SORT_FROM: Final = 4_096
"""From this many look-ups on, sorting them first pays: the search then walks memory in order."""


def sorted_index(keys: Array) -> tuple[Array, Array]:
    """Sort keys.

    Parameters
    ----------
    keys
        int64[n] or uint64[n], by row.

    Returns
    -------
    tuple
        The keys in order, and int32[n] their rows (in order of rows where keys are equal).
    """
    rows = np.argsort(keys, kind="stable").astype(np.int32)
    return keys[rows], rows


def lookup(sorted_keys: Array, sorted_rows: Array, wanted: Array, same_id: SameId | None = None) -> Array:
    """Find the rows of keys.

    Parameters
    ----------
    sorted_keys, sorted_rows
        From :func:`sorted_index`.
    wanted
        Keys to find, of the same type.
    same_id
        Says whether a member found by its key is the wanted one; None where the keys are the ids themselves.

    Returns
    -------
    int64[len(wanted)]
        Row, or -1 for an unknown id.
    """
    if same_id is None and len(wanted) < _SORT_FROM:  # what each decision asks: as few steps as will do
        return find_rows(sorted_keys, sorted_rows, wanted)
    rows = np.full(len(wanted), -1, np.int64)
    n_keys = len(sorted_keys)
    if n_keys == 0 or len(wanted) == 0:
        return rows
    open_ = np.argsort(wanted) if len(wanted) >= _SORT_FROM else np.arange(len(wanted))
    keys = wanted[open_]
    places = np.searchsorted(sorted_keys, keys)
    # Members of one key stand side by side: step through them until the id is the same or the key another.
    while len(open_):
        inside = np.minimum(places, n_keys - 1)
        there = (places < n_keys) & (sorted_keys[inside] == keys)
        open_, keys, places = open_[there], keys[there], places[there]
        candidates = sorted_rows[places].astype(np.int64)
        if same_id is None:
            rows[open_] = candidates
            break
        same = same_id(open_, candidates)
        rows[open_[same]] = candidates[same]
        open_, keys, places = open_[~same], keys[~same], places[~same] + 1
    return rows


def duplicate_rows(
    sorted_keys: Array, sorted_rows: Array, same_id: SameId | None = None
) -> tuple[int, int] | None:
    """Find two rows with the same id, or None.

    `same_id` compares the rows of two members here; it is asked for every pair of members whose keys collide.
    """
    equal = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1])
    if len(equal) == 0:
        return None
    if same_id is None:
        first = int(equal[0])
        return int(sorted_rows[first]), int(sorted_rows[first + 1])
    for distance in range(1, _longest_run(equal) + 1):
        left = np.flatnonzero(sorted_keys[distance:] == sorted_keys[:-distance])
        a, b = sorted_rows[left].astype(np.int64), sorted_rows[left + distance].astype(np.int64)
        same = np.flatnonzero(same_id(a, b))
        if len(same):
            return int(a[same[0]]), int(b[same[0]])
    return None


def _longest_run(places: Array) -> int:
    """Length of the longest run of consecutive places."""
    breaks = np.flatnonzero(np.diff(places) != 1)
    edges = np.concatenate([[-1], breaks, [len(places) - 1]])
    return int(np.diff(edges).max())


def text_array(data: Array, offsets: Array) -> Any:
    """See UTF-8 bytes and int64 offsets as an Arrow string array, without a copy."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def same_text(left: Any, right: Any) -> SameId:
    """Compare strings of two Arrow arrays by places, byte for byte."""
    # Loaded where members have texts for ids only: it takes a tenth of a second.
    import pyarrow.compute as pc

    def same(places: Array, rows: Array) -> Array:
        found: Array = pc.equal(left.take(pa.array(places)), right.take(pa.array(rows))).to_numpy(
            zero_copy_only=False
        )
        return found

    return same
