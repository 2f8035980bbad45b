"""Texts of many rows in one piece of memory, as Arrow lays them out: UTF-8 bytes end to end, and where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import I16, I32, INTERPRETED, U8, kernel
from decider_core.contracts import ContractError, check_array, check_range

MAX_BYTES: Final = 2**31 - 1
"""Bytes that the texts of one column may have together: an offset has 32 bits."""
_STEP: Final = vectors.VECTOR
"""Bytes that are copied at once."""


class Texts(NamedTuple):
    """Texts end to end."""

    data: U8
    """u8[n_bytes]: UTF-8."""
    offsets: I32
    """i32[n + 1]: text i is ``data[offsets[i]:offsets[i + 1]]``."""


def texts_of(values: Sequence[str]) -> Texts:
    """Lay texts end to end.

    Raises
    ------
    ContractError
        If they have more than `MAX_BYTES` together.
    """
    encoded = [value.encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    _check_size(int(offsets[-1]))
    return Texts(np.frombuffer(b"".join(encoded), np.uint8), offsets.astype(np.int32))


def numbered_texts(prefix: str, first: int, n_rows: int) -> Texts:
    """Return ``<prefix><first>, <prefix><first + 1>, ...``: n_rows texts.

    Raises
    ------
    ContractError
        If a number is negative or beyond int64, or the texts have more than `MAX_BYTES` together.
    """
    if n_rows < 0 or first < 0 or first + n_rows - 1 > np.iinfo(np.int64).max:
        raise ContractError(f"numbers must be in [0, 2^63), got {n_rows} from {first} on")
    start = np.frombuffer(prefix.encode(), np.uint8)
    stretches = list(_stretches(first, first + n_rows))
    _check_size(sum((end - begin) * (start.size + n_digits) for begin, end, n_digits in stretches))
    widths = np.concatenate(
        [np.zeros(1, np.int32)]
        + [np.full(end - begin, start.size + n_digits, np.int32) for begin, end, n_digits in stretches]
    )
    offsets = np.cumsum(widths, dtype=np.int32)
    data, at = np.empty(offsets[-1], np.uint8), 0
    for begin, end, n_digits in stretches:
        width = start.size + n_digits
        rows = data[at : at + (end - begin) * width].reshape(-1, width)
        rows[0, : start.size] = start
        _repeat_first(rows)
        _write_digits(begin, n_digits, rows)
        at += rows.size
    return Texts(data, offsets)


def take_texts(texts: Texts, codes: I16) -> Texts:
    """Return ``texts[codes[0]], texts[codes[1]], ...``.

    Parameters
    ----------
    texts
        n_codes of them.
    codes : i16[n]

    Raises
    ------
    ContractError
        If an argument has another dtype or shape, a code lies outside, or the texts have more than `MAX_BYTES`
        together.
    """
    source = check_array("texts.data", texts.data, np.uint8, (None,))
    begins = check_array("texts.offsets", texts.offsets, np.int32, (None,))
    codes = check_array("codes", codes, np.int16, (None,))
    check_range("codes", codes, 0, begins.size - 2)
    offsets = np.empty(codes.size + 1, np.int32)
    n_bytes = int(_place(begins, codes, offsets))
    _check_size(n_bytes)
    padded = np.concatenate([source, np.zeros(_STEP, np.uint8)])
    data = np.empty(n_bytes + _STEP, np.uint8)
    _take(padded, begins, codes, offsets, data)
    return Texts(data[:n_bytes], offsets)


def _stretches(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Stretches of numbers that have as many digits, and how many these are."""
    while first < end:
        n_digits = len(str(first))
        yield first, min(end, 10**n_digits), n_digits
        first = min(end, 10**n_digits)


def _repeat_first(rows: U8) -> None:
    """Write the first row over all others: in pieces as large as what is there, at the speed of memory."""
    n_there, n_rows = 1, len(rows)
    while n_there < n_rows:
        n_more = min(n_there, n_rows - n_there)
        rows[n_there : n_there + n_more] = rows[:n_more]
        n_there += n_more


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise ContractError(f"texts must have at most {MAX_BYTES} bytes together, got {n_bytes}")


@kernel
def _write_digits(first: int, n_digits: int, rows: U8) -> None:
    """Write consecutive numbers of as many digits at the ends of rows."""
    at, digits = rows.shape[1] - n_digits, np.empty(n_digits, np.uint8)
    rest = first
    for j in range(n_digits - 1, -1, -1):
        digits[j] = 48 + rest % 10
        rest //= 10
    for i in range(rows.shape[0]):
        for j in range(n_digits):
            rows[i, at + j] = digits[j]
        place = n_digits - 1
        while place >= 0 and digits[place] == 57:
            digits[place] = 48
            place -= 1
        if place >= 0:
            digits[place] += 1


@kernel
def _place(begins: I32, codes: I16, offsets: I32) -> int:
    """Write where each text goes, wrapped beyond 32 bits, and return how many bytes they have."""
    at = 0
    for i in range(codes.size):
        offsets[i] = at
        at += begins[codes[i] + 1] - begins[codes[i]]
    offsets[codes.size] = at
    return at


@kernel
def _take(source: U8, begins: I32, codes: I16, offsets: I32, data: U8) -> None:
    """Copy whole steps: what is written beyond a text's end is written over by the next one."""
    for i in range(codes.size):
        begin, at, n_bytes = begins[codes[i]], offsets[i], offsets[i + 1] - offsets[i]
        for done in range(0, n_bytes, _STEP):
            _copy_step(source, begin + done, data, at + done)


if INTERPRETED:

    def _copy_step(source: U8, begin: int, data: U8, at: int) -> None:
        """Copy `_STEP` bytes from `begin` in the source to `at` in the data."""
        data[at : at + _STEP] = source[begin : begin + _STEP]

else:

    @intrinsic
    def _copy_step(typing_context: Any, source: Any, begin: Any, data: Any, at: Any) -> Any:
        """Copy `_STEP` bytes from `begin` in the source to `at` in the data, neither of which is checked."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            of, to = vectors.arrays_of(context, builder, signature, arguments)
            step = vectors.load(builder, vectors.at(builder, of.data, arguments[1]))
            vectors.store(builder, step, vectors.at(builder, to.data, arguments[3]))
            return context.get_dummy_value()

        return types.void(source, types.int64, data, types.int64), generate
