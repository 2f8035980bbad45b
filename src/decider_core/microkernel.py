"""Two products of packed matrices with a tile of members, at the speed of the machine's multiply-adds.

A tile holds LANES members, one feature a row. Both products keep every sum in a register until it is
complete and read their matrix once, front to back, in the order in which :func:`pack_rows` and
:func:`pack_factors` lay it down. A lane's result depends on that lane's column alone, and is the same in
every lane.

The matrices' sizes are known at run time only, so one compilation serves every model: rows come in blocks of
CANDIDATES, factor columns in blocks of COLUMNS, and packing pads with zeros.

Written in LLVM's own terms, since no loop that the compiler vectorises by itself keeps 24 vectors in
registers. The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix
multiplication", ACM TOMS 34 (2008), section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, F64, INTERPRETED
from decider_core.vectors import VECTOR, ZEROS, Value, broadcast, count, multiply_add, repeat

LANES: Final = 32
"""Members in a tile: two vectors, so that each matrix entry that is broadcast serves two multiply-adds."""
CANDIDATES: Final = 4
"""Matrix rows, or factors, worked on together."""
COLUMNS: Final = 2
"""Columns of each factor worked on together: 4 x 2 sums of two vectors hide the latency of the adder."""


def pack_rows(matrix: F64) -> F32:
    """Lay down the rows of `matrix`, f64[n_rows, d], for :func:`multiply_rows`.

    Returns
    -------
    f32[...]
        For each block of CANDIDATES rows, for each feature, the entries of that block's rows. The number
        of rows is padded with zeros to :func:`padded_rows`.
    """
    n_rows, d = matrix.shape
    padded = np.zeros((padded_rows(n_rows), d))
    padded[:n_rows] = matrix
    return padded.reshape(-1, CANDIDATES, d).transpose(0, 2, 1).astype(np.float32).ravel()


def pack_factors(factors: F64) -> F32:
    """Lay down lower triangular `factors`, f64[n_factors, d, d], for :func:`square_norms`.

    Returns
    -------
    f32[...]
        For each block of CANDIDATES factors and each pair of columns (j, j+1): the entries (j, j), where
        column j+1 is zero; then for each row i > j the entries (i, j), (i, j+1) of every factor of the
        block. d is padded with zeros to :func:`padded_features`.
    """
    n, d = factors.shape[:2]
    size = padded_features(d)
    padded = np.zeros((padded_rows(n), size, size), np.float32)
    padded[:n, :d, :d] = factors
    parts = []
    for block in padded.reshape(-1, CANDIDATES, size, size):
        for j in range(0, size, COLUMNS):
            parts.append(block[:, j, j])
            parts.append(block[:, j + 1 :, j : j + COLUMNS].transpose(1, 0, 2).ravel())
    return np.concatenate(parts)


def padded_rows(n_rows: int) -> int:
    """Return the number of rows, or factors, after padding."""
    return -(-n_rows // CANDIDATES) * CANDIDATES


def padded_features(d: int) -> int:
    """Return the number of rows of a tile for d features: those beyond d must be zero."""
    return -(-d // COLUMNS) * COLUMNS


if INTERPRETED:

    def _fma(a: Any, b: Any, c: Any) -> Any:
        return (np.float64(a) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)

    def multiply_rows(tile: F32, rows: F32, out: F32) -> None:
        """Stand in for the compiled product, sum by sum in the same order."""
        d = rows.size // out.shape[0]
        for r in range(out.shape[0]):
            total = np.zeros(LANES, np.float32)
            for i in range(d):
                total = _fma(rows[(r // CANDIDATES * d + i) * CANDIDATES + r % CANDIDATES], tile[i], total)
            out[r] = total

    def multiply_row(tile: F32, row: F32, out: F32) -> None:
        """Stand in for the compiled product."""
        out[:] = 0.0
        for i in range(row.size):
            out[:] = _fma(row[i], tile[i], out)

    def square_norms(tile: F32, factors: F32, out: F32) -> None:
        """Stand in for the compiled product, sum by sum in the same order."""
        d, place = tile.shape[0], 0
        for block in range(0, out.shape[0], CANDIDATES):
            sums = np.zeros((CANDIDATES, LANES), np.float32)
            for j in range(0, d, COLUMNS):
                parts = np.zeros((CANDIDATES, COLUMNS, LANES), np.float32)
                for k in range(CANDIDATES):
                    parts[k, 0] = factors[place + k] * tile[j]
                place += CANDIDATES
                for i in range(j + 1, d):
                    for k in range(CANDIDATES):
                        for c in range(COLUMNS):
                            parts[k, c] = _fma(factors[place + k * COLUMNS + c], tile[i], parts[k, c])
                    place += CANDIDATES * COLUMNS
                for k in range(CANDIDATES):
                    for c in range(COLUMNS):
                        sums[k] = _fma(parts[k, c], parts[k, c], sums[k])
            out[block : block + CANDIDATES] = sums

else:
    _N_VECTORS: Final = LANES // VECTOR

    def _load_row(builder: Any, tile: Value, row: Value) -> list[Value]:
        """Load the vectors of one row of a tile."""
        start = vectors.at(builder, tile, builder.mul(row, count(LANES)))
        return [vectors.load(builder, vectors.at(builder, start, v * VECTOR)) for v in range(_N_VECTORS)]

    def _store_row(builder: Any, numbers: Sequence[Value], tile: Value, row: Value) -> None:
        start = vectors.at(builder, tile, builder.mul(row, count(LANES)))
        for v, vector in enumerate(numbers):
            vectors.store(builder, vector, vectors.at(builder, start, v * VECTOR))

    @intrinsic
    def multiply_rows(typing_context: Any, tile: Any, rows: Any, out: Any) -> Any:
        """``out[r] = sum_i matrix[r, i] * tile[i]`` for packed rows; out is f32[padded rows, LANES].

        The tile may have more rows than the matrix has columns: those are not read.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            tile, rows, out = (array.data for array in arrays)
            n_rows = vectors.length(builder, arrays[2])
            n_features = builder.sdiv(vectors.length(builder, arrays[1]), n_rows)

            def block(first_row: Value, carried: list[Value]) -> list[Value]:
                def feature(i: Value, carried: list[Value]) -> list[Value]:
                    entries, sums = carried[0], carried[1:]
                    members = _load_row(builder, tile, i)
                    for k in range(CANDIDATES):
                        weight = broadcast(builder, entries, k)
                        for v in range(_N_VECTORS):
                            at = k * _N_VECTORS + v
                            sums[at] = multiply_add(builder, weight, members[v], sums[at])
                    return [vectors.at(builder, entries, CANDIDATES), *sums]

                zeros = [ZEROS] * (CANDIDATES * _N_VECTORS)
                entries, *sums = repeat(builder, count(0), n_features, 1, [*carried, *zeros], feature)
                for k in range(CANDIDATES):
                    row = builder.add(first_row, count(k))
                    _store_row(builder, sums[k * _N_VECTORS :][:_N_VECTORS], out, row)
                return [entries]

            repeat(builder, count(0), n_rows, CANDIDATES, [rows], block)
            return context.get_dummy_value()

        return types.void(tile, rows, out), generate

    @intrinsic
    def multiply_row(typing_context: Any, tile: Any, row: Any, out: Any) -> Any:
        """``out = sum_i row[i] * tile[i]`` for one row as it is, f32[d] with d at least 1; out is f32[LANES]."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            tile, row, out = (array.data for array in arrays)

            def feature(i: Value, sums: list[Value]) -> list[Value]:
                weight = broadcast(builder, row, i)
                members = _load_row(builder, tile, i)
                return [multiply_add(builder, weight, *pair) for pair in zip(members, sums, strict=True)]

            sums = repeat(
                builder, count(0), vectors.length(builder, arrays[1]), 1, [ZEROS] * _N_VECTORS, feature
            )
            _store_row(builder, sums, out, count(0))
            return context.get_dummy_value()

        return types.void(tile, row, out), generate

    @intrinsic
    def square_norms(typing_context: Any, tile: Any, factors: Any, out: Any) -> Any:
        """``out[k] = |factor_k' tile|^2`` for packed factors; out is f32[padded factors, LANES].

        With ``Sigma_k = factor_k factor_k'`` it is the quadratic form ``tile' Sigma_k tile`` of each
        member, a sum of squares and so never negative. The tile has as many rows as the factors after
        padding.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            tile, factors, out = (array.data for array in arrays)
            d, n_factors = vectors.length(builder, arrays[0]), vectors.length(builder, arrays[2])

            def block(first_factor: Value, carried: list[Value]) -> list[Value]:
                def columns(j: Value, carried: list[Value]) -> list[Value]:
                    entries, norms = carried[0], carried[1:]
                    # Row j: the triangle begins, and only column j is there.
                    members = _load_row(builder, tile, j)
                    parts: list[Value] = []
                    for k in range(CANDIDATES):
                        entry = broadcast(builder, entries, k)
                        parts += [builder.fmul(entry, members[v]) for v in range(_N_VECTORS)]
                        parts += [ZEROS] * (_N_VECTORS * (COLUMNS - 1))
                    entries = vectors.at(builder, entries, CANDIDATES)

                    def row(i: Value, carried: list[Value]) -> list[Value]:
                        entries, parts = carried[0], carried[1:]
                        members = _load_row(builder, tile, i)
                        for column in range(CANDIDATES * COLUMNS):
                            entry = broadcast(builder, entries, column)
                            for v in range(_N_VECTORS):
                                at = column * _N_VECTORS + v
                                parts[at] = multiply_add(builder, entry, members[v], parts[at])
                        return [vectors.at(builder, entries, CANDIDATES * COLUMNS), *parts]

                    below = builder.add(j, count(1))
                    entries, *parts = repeat(builder, below, d, 1, [entries, *parts], row)
                    for k in range(CANDIDATES):
                        for c in range(COLUMNS):
                            for v in range(_N_VECTORS):
                                part = parts[(k * COLUMNS + c) * _N_VECTORS + v]
                                at = k * _N_VECTORS + v
                                norms[at] = multiply_add(builder, part, part, norms[at])
                    return [entries, *norms]

                zeros = [ZEROS] * (CANDIDATES * _N_VECTORS)
                entries, *norms = repeat(builder, count(0), d, COLUMNS, [*carried, *zeros], columns)
                for k in range(CANDIDATES):
                    row = builder.add(first_factor, count(k))
                    _store_row(builder, norms[k * _N_VECTORS :][:_N_VECTORS], out, row)
                return [entries]

            repeat(builder, count(0), n_factors, CANDIDATES, [factors], block)
            return context.get_dummy_value()

        return types.void(tile, factors, out), generate
