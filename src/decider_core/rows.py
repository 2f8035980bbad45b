"""Rows of a snapshot: whether they follow each other, and what stands there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from decider_core.compile import I16, I32, I64, U8, kernel
from decider_core.contracts import check_array, check_range


def stretch_of(rows: I64) -> slice | I64:
    """Return the slice of rows that follow each other, so that nothing is copied; else the rows themselves.

    Parameters
    ----------
    rows : i64[n]

    Raises
    ------
    ContractError
        If they have another dtype or shape.
    """
    checked = check_array("rows", rows, np.int64, (None,))
    if not rows.size or rows[0] < 0 or not follow_each_other(checked):
        return rows
    first = int(rows[0])
    return slice(first, first + rows.size)


def find_rows(sorted_keys: I64, sorted_rows: I32, wanted: I64) -> I64:
    """Return the row of each key, i64[n], -1 for one that is not there.

    Parameters
    ----------
    sorted_keys : i64[n_keys]
        Rising.
    sorted_rows : i32[n_keys]
        Their rows.
    wanted : i64[n]

    Raises
    ------
    ContractError
        If an argument has another dtype or shape.
    """
    sorted_keys = check_array("sorted_keys", sorted_keys, np.int64, (None,))
    sorted_rows = check_array("sorted_rows", sorted_rows, np.int32, sorted_keys.shape)
    return _find_rows(sorted_keys, sorted_rows, check_array("wanted", wanted, np.int64, (None,)))


def codes_among(codes: I16, n_codes: int) -> list[int]:
    """Return which codes there are, rising.

    Parameters
    ----------
    codes : i16[n]
        Each below `n_codes`.

    Raises
    ------
    ContractError
        If they have another dtype or shape or one lies outside.
    """
    codes = check_array("codes", codes, np.int16, (None,))
    is_there = np.zeros(n_codes, np.uint8)
    if not _mark(codes, is_there):
        check_range("codes", codes, 0, n_codes - 1)
    return [code for code, one in enumerate(is_there.tolist()) if one]


def translate(codes: I16, table: I16) -> I16:
    """Return what the table has for each code, i16[n].

    Parameters
    ----------
    codes : i16[n]
    table : i16[n_codes]

    Raises
    ------
    ContractError
        If an argument has another dtype or shape or a code lies outside.
    """
    codes = check_array("codes", codes, np.int16, (None,))
    table = check_array("table", table, np.int16, (None,))
    out = np.empty(codes.size, np.int16)
    if not _translate(codes, table, out):
        check_range("codes", codes, 0, table.size - 1)
    return out


@kernel
def _find_rows(sorted_keys: I64, sorted_rows: I32, wanted: I64) -> I64:
    rows = np.empty(wanted.size, np.int64)
    for i in range(wanted.size):
        first, past = 0, sorted_keys.size
        while first < past:
            middle = (first + past) // 2
            if sorted_keys[middle] < wanted[i]:
                first = middle + 1
            else:
                past = middle
        is_there = first < sorted_keys.size and sorted_keys[first] == wanted[i]
        rows[i] = sorted_rows[first] if is_there else -1
    return rows


@kernel
def follow_each_other(rows: I64) -> bool:
    """Return whether each row is one more than the row before; there must be one at least."""
    first, n_following = rows[0], 0
    for i in range(rows.size):
        n_following += rows[i] - i == first
    return n_following == rows.size


@kernel
def take(table: npt.NDArray[Any], rows: I64, out: npt.NDArray[Any]) -> None:
    """Write what stands at the rows, which lie within the table: copied where they follow each other."""
    if rows.size == 0:
        return
    if follow_each_other(rows):
        stretch = table[rows[0] : rows[0] + rows.size]
        for r in range(out.size):
            out[r] = stretch[r]
    else:
        for r in range(out.size):
            out[r] = table[rows[r]]


# What is usual has few codes: of all the same, nothing is looked up. Both return False where a code lies outside.


@kernel
def _extent(codes: I16) -> tuple[int, int]:
    low = high = codes[0]
    for i in range(codes.size):
        low, high = min(low, codes[i]), max(high, codes[i])
    return low, high


@kernel
def _mark(codes: I16, is_there: U8) -> bool:
    if codes.size == 0:
        return True
    low, high = _extent(codes)
    if low < 0 or high >= is_there.size:
        return False
    if low == high:
        is_there[low] = 1
    else:
        for i in range(codes.size):
            is_there[np.uint16(codes[i])] = 1
    return True


@kernel
def _translate(codes: I16, table: I16, out: I16) -> bool:
    if codes.size == 0:
        return True
    low, high = _extent(codes)
    if low < 0 or high >= table.size:
        return False
    if low == high:
        out[:] = table[low]
    else:
        for i in range(codes.size):
            out[i] = table[np.uint16(codes[i])]
    return True
