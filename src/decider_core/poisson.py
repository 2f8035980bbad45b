"""Poisson(1) counts of a member in any number of resamples, and rows added up as often as they count.

The number behind the count of resample b is ``(second * b + first) mod 2^32``, of which the upper 16 bits are
kept; `first` and `second` are the halves of the member's keyed 64 bits. That is the multiply-shift scheme of
[1]_ (theorem 4): over the member's bits, the kept bits of any two resamples below 2^17 are independent and
uniform. So any two resamples are independent, members are independent of one another, and an empirical
variance or quantile over resamples has the mean and the variance that it has over independent ones.

The count is how many of the tails P(count > k) the distance from the top falls short of. Each tail lies in an octave
of its own: the leading zeros of the distance tell how many are passed for certain and which one is to be compared,
both by a lookup in registers.

References
----------
.. [1] Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic
       without primes", STACS 1996.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, INTERPRETED, U32, inline

LANES: Final = vectors.VECTOR
"""Resamples come in whole vectors of so many."""
COLUMNS: Final = 8
"""Columns whose sums are held in registers together."""

# P(count > k) in units of 2^-16, rounded, the last taking all that is beyond it. They add up to 2^16, so the mean is
# 1 exactly; the variance is 1 - 6e-5.
_ROUNDED: Final = [
    round((1.0 - sum(math.exp(-1.0) / math.factorial(i) for i in range(k + 1))) * 2**16) for k in range(6)
]
_TAILS: Final = [tail << 16 for tail in (*_ROUNDED, 2**16 - sum(_ROUNDED))]
_TAIL_0, _TAIL_1, _TAIL_2, _TAIL_3, _TAIL_4, _TAIL_5, _TAIL_6 = map(np.uint32, _TAILS)


def _by_leading_zeros() -> tuple[list[float], list[int]]:
    """For 0 to 31 leading zeros: tails that are passed for certain, and the one to compare, 0 for none."""
    passed = [float(sum(32 - tail.bit_length() < zeros for tail in _TAILS)) for zeros in range(32)]
    compared = [sum(tail for tail in _TAILS if 32 - tail.bit_length() == zeros) for zeros in range(32)]
    return passed, compared


_PASSED, _COMPARED = _by_leading_zeros()


@inline
def poisson_count(x: np.uint32) -> np.float32:
    """Return the count behind a number."""
    # The tails' lower 16 bits are zero, so only the upper 16 of x decide.
    one, zero, left = np.int32(1), np.int32(0), np.uint32(~x)
    count = one if left < _TAIL_0 else zero
    count = np.int32(count + (one if left < _TAIL_1 else zero))
    count = np.int32(count + (one if left < _TAIL_2 else zero))
    count = np.int32(count + (one if left < _TAIL_3 else zero))
    count = np.int32(count + (one if left < _TAIL_4 else zero))
    count = np.int32(count + (one if left < _TAIL_5 else zero))
    count = np.int32(count + (one if left < _TAIL_6 else zero))
    return np.float32(count)


@inline
def fill_counts(state: np.uint64, lanes: U32, counts: F32) -> None:
    """Write the counts of a member, whose keyed 64 bits are `state`, in the resamples `lanes`."""
    first, second = np.uint32(state & np.uint64(0xFFFFFFFF)), np.uint32(state >> np.uint64(32))
    for b in range(lanes.size):
        counts[b] = poisson_count(np.uint32(first + np.uint32(second * lanes[b])))


if INTERPRETED:

    def _make_add(n_columns: int) -> Any:
        def add(bits: U32, values: F32, part: F32, first: int, n: int) -> int:
            lanes = np.arange(part.shape[1], dtype=np.uint32)
            counts = np.zeros((n, lanes.size), np.float32)
            for tail in _TAILS:
                counts += ~(bits[0, :n, None] + bits[1, :n, None] * lanes) < np.uint32(tail)
            part[0] = counts.sum(axis=0)
            for c in range(first, first + n_columns):
                part[1 + c] = values[c, :n] @ counts
            return 0

        return add

else:

    def _make_add(n_columns: int) -> Any:
        @intrinsic
        def add(typing_context: Any, bits: Any, values: Any, part: Any, first: Any, n: Any) -> Any:
            """Write to ``part[0]`` the counts' sums and to ``part[1 + c]`` the columns', each row as it counts.

            bits : u32[2, at least n], values : f32[at least first + n_columns, at least n], part : f32[, n_lanes];
            n and n_lanes at least 1. Sums run from row to row, fused: the bits are the same for any number of lanes
            and columns.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                arrays = vectors.arrays_of(context, builder, signature, arguments)
                bits, values, part = (array.data for array in arrays)
                bit_row, value_row, part_row = (vectors.row_stride(builder, array) for array in arrays)
                first, n = arguments[-2:]
                seconds = vectors.at(builder, bits, bit_row)
                columns = [builder.add(first, vectors.count(c)) for c in range(n_columns)]
                inputs = [vectors.at(builder, values, builder.mul(c, value_row)) for c in columns]
                outputs = [part] + [
                    vectors.at(builder, part, builder.mul(builder.add(c, vectors.count(1)), part_row))
                    for c in columns
                ]
                iota = vectors.numbers(range(LANES))

                def lanes(start: Any, carried: list[Any]) -> list[Any]:
                    base = vectors.splat(builder, builder.trunc(start, vectors.WORD))
                    resample = builder.add(base, iota)

                    def row(i: Any, sums: list[Any]) -> list[Any]:
                        step = builder.mul(vectors.broadcast(builder, seconds, i), resample)
                        count = _counts(builder, builder.add(vectors.broadcast(builder, bits, i), step))
                        return [builder.fadd(sums[0], count)] + [
                            vectors.multiply_add(builder, count, vectors.broadcast(builder, column, i), total)
                            for column, total in zip(inputs, sums[1:], strict=True)
                        ]

                    zeros = [vectors.ZEROS] * (1 + n_columns)
                    for total, output in zip(
                        vectors.repeat(builder, vectors.count(0), n, 1, zeros, row), outputs, strict=True
                    ):
                        vectors.store(builder, total, vectors.at(builder, output, start))
                    return carried

                end = vectors.length(builder, arrays[2], 1)
                vectors.repeat(builder, vectors.count(0), end, LANES, [], lanes)
                return vectors.count(0)

            return types.int64(bits, values, part, types.int64, types.int64), generate

        return add

    def _counts(builder: Any, x: Any) -> Any:
        """Emit :func:`poisson_count` of a vector: the same numbers."""
        left = builder.xor(x, vectors.constants(vectors.WORDS, -1))
        one = vectors.constants(vectors.FLOATS, 1.0)
        if not vectors.AVX512:
            count = vectors.ZEROS
            for tail in _TAILS:
                short = builder.icmp_unsigned("<", left, vectors.constants(vectors.WORDS, tail))
                count = builder.select(short, builder.fadd(count, one), count)
            return count
        # The lowest bit decides nothing, and with it there are at most 31 leading zeros.
        zeros = vectors.leading_zeros(builder, builder.or_(left, vectors.constants(vectors.WORDS, 1)))
        passed = vectors.look_up(builder, _PASSED, zeros)
        tail = vectors.look_up_words(builder, _COMPARED, zeros)
        return builder.select(builder.icmp_unsigned("<", left, tail), builder.fadd(passed, one), passed)


add_counted = _make_add(COLUMNS)
add_counted_3 = _make_add(3)
add_counted_1 = _make_add(1)
