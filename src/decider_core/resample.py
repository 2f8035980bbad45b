"""Sums over rows and Poisson resamples of them over members, in one pass and bounded memory.

A resample gives every member a Poisson(1) count, the same to all of the member's rows, and weighs the rows by
it: the bootstrap over members in its streaming form [1]_. A count is a pure function of (seed, resample,
member), so it does not depend on how rows are cut into chunks, and whatever is resampled with one seed is
resampled alike: the resamples of a difference are the differences of the resamples.

How counts are made from a member's bits: :mod:`decider_core.poisson`.

References
----------
.. [1] Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for massive data streams", 2012.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, F64, U32, U64, kernel
from decider_core.contracts import ContractError, check_array, check_finite
from decider_core.poisson import COLUMNS, LANES, add_counted, add_counted_1, add_counted_3, poisson_count
from decider_core.random import BOOTSTRAP, stream_key
from decider_core.splitmix import member_state

MOST_RESAMPLES: Final = 1 << 17

BLOCK: Final = 256
"""Rows added up in float32 before they join a float64 sum."""
_AT_ONCE: Final = 8
"""Sums that a loop keeps side by side, since the additions of a single one would wait for one another."""


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
    values : f64[n_columns, BLOCK]
        The rows of a block, to be filled by the caller.
    keys : u64[BLOCK]
        Their members.
    bits : u32[2, BLOCK]
        Their members' bits.
    scaled : f32[n_columns, BLOCK]
        The values, centred and scaled.
    part : f32[1 + n_columns, n_lanes]
        Sums over the block; the resamples are padded to whole vectors.
    resampled : f64[1 + n_columns, n_lanes]
        Sums over all blocks.
    """

    values: F64
    keys: U64
    bits: U32
    scaled: F32
    part: F32
    resampled: F64

    def sums(self, n_resamples: int) -> tuple[F64, F64]:
        """Return counts f64[n_resamples] and sums f64[n_columns, n_resamples]."""
        return self.resampled[0, :n_resamples].copy(), self.resampled[1:, :n_resamples].copy()


def workspace(n_columns: int, n_resamples: int) -> Workspace:
    """Allocate what a pass over rows needs, whatever their number."""
    _check_resamples(n_resamples)
    n_lanes = -(-n_resamples // LANES) * LANES
    return Workspace(
        np.zeros((n_columns, BLOCK)),
        np.zeros(BLOCK, np.uint64),
        np.zeros((2, BLOCK), np.uint32),
        np.zeros((n_columns, BLOCK), np.float32),
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
    n_lanes = space.part.shape[1]
    means, scales = np.empty(n_columns), np.empty(n_columns)
    for c in range(n_columns):
        total = _total(space.values[c], n)
        totals[c] += total
        means[c] = total / n
    if n_lanes == 0:
        return
    for i in range(n):
        state = member_state(stream, space.keys[i])
        space.bits[0, i] = np.uint32(state & np.uint64(0xFFFFFFFF))
        space.bits[1, i] = np.uint32(state >> np.uint64(32))
    for c in range(n_columns):
        scales[c] = _farthest(space.values[c], n, means[c])
        inverse = 1.0 / scales[c] if scales[c] > 1e-300 else 0.0
        for i in range(n):
            space.scaled[c, i] = np.float32((space.values[c, i] - means[c]) * inverse)
    done = 0
    while done < n_columns:
        # Counts are made again for the columns that the registers have no room for.
        if n_columns - done >= COLUMNS:
            add_counted(space.bits, space.scaled, space.part, done, n)
            done += COLUMNS
        elif n_columns - done >= 3:
            add_counted_3(space.bits, space.scaled, space.part, done, n)
            done += 3
        else:
            add_counted_1(space.bits, space.scaled, space.part, done, n)
            done += 1
    for b in range(n_lanes):
        space.resampled[0, b] += space.part[0, b]
    for c in range(n_columns):
        # sum(count v) = scale sum(count (v - mean) / scale) + mean sum(count), the last of them exact.
        for b in range(n_lanes):
            space.resampled[1 + c, b] += scales[c] * space.part[1 + c, b] + means[c] * space.part[0, b]


@kernel
def _total(values: F64, n: int) -> float:
    sums = np.zeros(_AT_ONCE)
    whole = n - n % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        for lane in range(_AT_ONCE):
            sums[lane] += values[start + lane]
    for i in range(whole, n):
        sums[i - whole] += values[i]
    total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    return float(total)


@kernel
def _farthest(values: F64, n: int, mean: float) -> float:
    # The largest distance from the mean.
    largest = np.zeros(_AT_ONCE)
    whole = n - n % _AT_ONCE
    for start in range(0, whole, _AT_ONCE):
        for lane in range(_AT_ONCE):
            largest[lane] = max(largest[lane], abs(values[start + lane] - mean))
    for i in range(whole, n):
        largest[i - whole] = max(largest[i - whole], abs(values[i] - mean))
    return float(largest.max())


@kernel
def _poisson_counts(member_keys: U64, stream: np.uint64, counts: F32) -> None:
    for i in range(member_keys.size):
        state = member_state(stream, member_keys[i])
        first, second = np.uint32(state & np.uint64(0xFFFFFFFF)), np.uint32(state >> np.uint64(32))
        for b in range(counts.shape[0]):
            counts[b, i] = poisson_count(np.uint32(first + np.uint32(second * np.uint32(b))))
