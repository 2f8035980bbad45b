"""Sums over rows and Poisson resamples of them over members, in one pass and bounded memory.

A resample gives every member a Poisson(1) count, the same to all of the member's rows, and weighs the rows by
it: the bootstrap over members in its streaming form [1]_. A count is a pure function of (seed, resample,
member), so it does not depend on how rows are cut into chunks, and whatever is resampled with one seed is
resampled alike: the resamples of a difference are the differences of the resamples.

The number behind the count of resample b is ``(second * b + first) mod 2^32``, of which the upper 16 bits are
kept; `first` and `second` are the halves of the member's keyed 64 bits. That is the multiply-shift scheme of
[2]_ (theorem 4): over the member's bits, the kept bits of any two resamples below 2^17 are independent and
uniform. So any two resamples are independent, members are independent of one another, and an empirical
variance or quantile over resamples has the mean and the variance that it has over independent ones.

References
----------
.. [1] Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for massive data streams", 2012.
.. [2] Dietzfelbinger, "Universal hashing and k-wise independent random variables via integer arithmetic
       without primes", STACS 1996.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, F64, U32, U64, fma, inline, kernel
from decider_core.contracts import ContractError, check_array, check_finite
from decider_core.random import BOOTSTRAP, stream_key
from decider_core.splitmix import member_state

MOST_RESAMPLES: Final = 1 << 17

ROWS: Final = 8
"""Rows whose counts are made before they are used: each sum is read and written once for all of them."""
BLOCK: Final = 256
"""Rows added up in float32 before they join a float64 sum. A multiple of ROWS."""
_LANES: Final = 16

# Where a 16-bit number passes P(count <= k): the tails P(count > k) in units of 2^-16, rounded, the last
# taking all that is beyond it. They add up to 2^16, so the mean is 1 exactly; the variance is 1 - 6e-5.
_TAILS: Final = tuple(
    round((1.0 - sum(math.exp(-1.0) / math.factorial(i) for i in range(k + 1))) * 2**16) for k in range(6)
)
_TAIL_0, _TAIL_1, _TAIL_2, _TAIL_3, _TAIL_4, _TAIL_5, _TAIL_6 = (
    np.uint32((2**16 - tail) << 16) for tail in (*_TAILS, 2**16 - sum(_TAILS))
)


class ResampledSums(NamedTuple):
    """Sums of columns over rows; those of two parts of a log add up to those of the whole.

    Parameters
    ----------
    n_rows
        Rows added.
    totals : f64[n_columns]
        Sums of the columns.
    counts : f64[n_resamples]
        How many rows each resample drew.
    resampled : f64[n_columns, n_resamples]
        Sums of the columns, each row as often as its member was drawn.
    """

    n_rows: int
    totals: F64
    counts: F64
    resampled: F64


def resample_sums(columns: F64, member_keys: U64, n_resamples: int, seed: int) -> ResampledSums:
    """Add up columns over rows, and over Poisson resamples of members.

    Parameters
    ----------
    columns : f64[n_columns, n]
        Finite; one column or more.
    member_keys : u64[n]
        Rows with one key are drawn together.
    n_resamples
        In [0, 2^17].
    seed
        The seed of the resamples.

    Raises
    ------
    ContractError
        If a dtype, shape or range is wrong.

    Notes
    -----
    Blocks of 256 rows are centred on their mean, added up in float32, and their sums kept in float64: a
    resampled sum is exact to about 1e-6 of its standard deviation. Totals and counts are sums in float64.
    """
    columns = check_array("columns", columns, np.float64, (None, None))
    member_keys = check_array("member_keys", member_keys, np.uint64, (columns.shape[1],))
    check_finite("columns", columns)
    space = workspace(columns.shape[0], n_resamples)
    totals = np.zeros(columns.shape[0])
    _resample(columns, member_keys, stream_key(seed, BOOTSTRAP), space, totals)
    return ResampledSums(member_keys.size, totals, *space.sums(n_resamples))


def poisson_counts(member_keys: U64, n_resamples: int, seed: int) -> F32:
    """Return the count of every member in every resample, f32[n_resamples, n_members]."""
    member_keys = check_array("member_keys", member_keys, np.uint64, (None,))
    _check_resamples(n_resamples)
    counts = np.empty((n_resamples, member_keys.size), np.float32)
    _poisson_counts(member_keys, stream_key(seed, BOOTSTRAP), counts)
    return counts


def merge_sums(first: ResampledSums, second: ResampledSums) -> ResampledSums:
    """Return the sums over two disjoint parts of a log, made with the same seed.

    Raises
    ------
    ContractError
        If the numbers of resamples or of columns differ.
    """
    if first.resampled.shape != second.resampled.shape:
        found = f"{first.resampled.shape} and {second.resampled.shape}"
        raise ContractError(f"resampled must have the same shape in both parts, got {found}")
    return ResampledSums(
        first.n_rows + second.n_rows,
        first.totals + second.totals,
        first.counts + second.counts,
        first.resampled + second.resampled,
    )


class Workspace(NamedTuple):
    """What :func:`_add_block` works in; a resampled sum's first row holds the counts.

    Parameters
    ----------
    lanes : u32[n_lanes]
        The resamples' numbers, padded to whole vectors.
    values : f64[n_columns, BLOCK]
        The rows of a block, to be filled by the caller.
    keys : u64[BLOCK]
        Their members.
    scaled : f32[n_columns, BLOCK]
        The same, centred and scaled.
    counts : f32[ROWS, n_lanes]
        Counts of a few rows.
    part : f32[1 + n_columns, n_lanes]
        Sums over the block.
    resampled : f64[1 + n_columns, n_lanes]
        Sums over all blocks.
    """

    lanes: U32
    values: F64
    keys: U64
    scaled: F32
    counts: F32
    part: F32
    resampled: F64

    def sums(self, n_resamples: int) -> tuple[F64, F64]:
        """Return counts f64[n_resamples] and sums f64[n_columns, n_resamples]."""
        return self.resampled[0, :n_resamples].copy(), self.resampled[1:, :n_resamples].copy()


def workspace(n_columns: int, n_resamples: int) -> Workspace:
    """Allocate what a pass over rows needs, whatever their number."""
    _check_resamples(n_resamples)
    n_lanes = -(-n_resamples // _LANES) * _LANES
    return Workspace(
        np.arange(n_lanes, dtype=np.uint32),
        np.zeros((n_columns, BLOCK)),
        np.zeros(BLOCK, np.uint64),
        np.zeros((n_columns, BLOCK), np.float32),
        np.zeros((ROWS, n_lanes), np.float32),
        np.zeros((1 + n_columns, n_lanes), np.float32),
        np.zeros((1 + n_columns, n_lanes)),
    )


def _check_resamples(n_resamples: int) -> None:
    if not 0 <= n_resamples <= MOST_RESAMPLES:
        raise ContractError(f"n_resamples must be in [0, {MOST_RESAMPLES}], got {n_resamples}")


@kernel
def _resample(columns: F64, member_keys: U64, stream: np.uint64, space: Workspace, totals: F64) -> None:
    for start in range(0, member_keys.size, BLOCK):
        n = min(BLOCK, member_keys.size - start)
        for i in range(n):
            space.keys[i] = member_keys[start + i]
        for c in range(columns.shape[0]):
            for i in range(n):
                space.values[c, i] = columns[c, start + i]
        _add_block(n, stream, space, totals)


@kernel
def _add_block(n: int, stream: np.uint64, space: Workspace, totals: F64) -> None:
    # Adds the first n rows of space.values to totals and to every resample.
    n_columns = space.values.shape[0]
    n_lanes = space.lanes.size
    n_padded = (n + ROWS - 1) // ROWS * ROWS
    for c in range(n_columns):
        total = 0.0
        for i in range(n):
            total += space.values[c, i]
        totals[c] += total
    if n_lanes == 0:
        return
    space.part[:] = np.float32(0.0)
    means, scales = np.empty(n_columns), np.empty(n_columns)
    for c in range(n_columns):
        mean, largest = 0.0, 0.0
        for i in range(n):
            mean += space.values[c, i] / n
        for i in range(n):
            largest = max(largest, abs(space.values[c, i] - mean))
        inverse = 1.0 / largest if largest > 1e-300 else 0.0
        for i in range(n):
            space.scaled[c, i] = np.float32((space.values[c, i] - mean) * inverse)
        for i in range(n, n_padded):
            space.scaled[c, i] = np.float32(0.0)
        means[c], scales[c] = mean, largest
    for start in range(0, n_padded, ROWS):
        for r in range(ROWS):
            if start + r < n:
                _fill_counts(member_state(stream, space.keys[start + r]), space.lanes, space.counts[r])
            else:
                space.counts[r] = np.float32(0.0)
        _add_rows(start, space.counts, space.scaled, space.part)
    for b in range(n_lanes):
        space.resampled[0, b] += space.part[0, b]
    for c in range(n_columns):
        # sum(count v) = scale sum(count (v - mean) / scale) + mean sum(count), the last of them exact.
        for b in range(n_lanes):
            space.resampled[1 + c, b] += scales[c] * space.part[1 + c, b] + means[c] * space.part[0, b]


@kernel
def _add_rows(start: int, counts: F32, scaled: F32, part: F32) -> None:
    for b in range(part.shape[1]):
        few = (counts[0, b] + counts[1, b]) + (counts[2, b] + counts[3, b])
        part[0, b] += few + ((counts[4, b] + counts[5, b]) + (counts[6, b] + counts[7, b]))
    for c in range(scaled.shape[0]):
        v = scaled[c, start : start + ROWS]
        v0, v1, v2, v3, v4, v5, v6, v7 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
        sums = part[1 + c]
        for b in range(sums.size):
            total = fma(counts[0, b], v0, sums[b])
            total = fma(counts[1, b], v1, total)
            total = fma(counts[2, b], v2, total)
            total = fma(counts[3, b], v3, total)
            total = fma(counts[4, b], v4, total)
            total = fma(counts[5, b], v5, total)
            total = fma(counts[6, b], v6, total)
            sums[b] = fma(counts[7, b], v7, total)


@kernel
def _poisson_counts(member_keys: U64, stream: np.uint64, counts: F32) -> None:
    for i in range(member_keys.size):
        state = member_state(stream, member_keys[i])
        first, second = np.uint32(state & np.uint64(0xFFFFFFFF)), np.uint32(state >> np.uint64(32))
        for b in range(counts.shape[0]):
            counts[b, i] = _poisson(np.uint32(first + np.uint32(second * np.uint32(b))))


@inline
def _fill_counts(state: np.uint64, lanes: U32, counts: F32) -> None:
    first, second = np.uint32(state & np.uint64(0xFFFFFFFF)), np.uint32(state >> np.uint64(32))
    for b in range(lanes.size):
        counts[b] = _poisson(np.uint32(first + np.uint32(second * lanes[b])))


@inline
def _poisson(x: np.uint32) -> np.float32:
    # The thresholds' lower 16 bits are zero, so only the upper 16 of x decide.
    one, zero = np.int32(1), np.int32(0)
    count = one if x >= _TAIL_0 else zero
    count = np.int32(count + (one if x >= _TAIL_1 else zero))
    count = np.int32(count + (one if x >= _TAIL_2 else zero))
    count = np.int32(count + (one if x >= _TAIL_3 else zero))
    count = np.int32(count + (one if x >= _TAIL_4 else zero))
    count = np.int32(count + (one if x >= _TAIL_5 else zero))
    count = np.int32(count + (one if x >= _TAIL_6 else zero))
    return np.float32(count)
