"""Gram matrices of few columns, in registers: BLAS spends most of its time on packing a matrix of 33 columns.

A tile of the matrix, 8 of its rows by up to 24 of its columns, stays in registers while a block of data passes by; only
tiles on and above the diagonal are made. The scheme of :mod:`decider_core.microkernel`, in float64.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, F64, INTERPRETED, kernel
from decider_core.vectors import Value, count, repeat

TILE: Final = 8
"""Rows of a tile, and columns of one of its vectors."""
_BLOCK_ROWS: Final = 64
"""Rows of data that pass by together: 40 columns of them, 20 KB, stay in L1."""


def add_gram(x: F32 | F64, y: F64, weight: F64) -> F64:
    """Return ``a'Wa`` for ``a = [x, y]``, f64[D + 1, D + 1]: right on and above the diagonal only.

    Parameters
    ----------
    x : f32[n, D] or f64[n, D]
    y, weight : f64[n]
    """
    width = -(-(x.shape[1] + 1) // TILE) * TILE
    gram = np.zeros((width, width))
    _add_gram(x, y, weight, np.zeros((_BLOCK_ROWS, width)), gram)
    size = x.shape[1] + 1
    return gram[:size, :size]


@kernel
def _add_gram(x: F32 | F64, y: F64, weight: F64, rows: F64, gram: F64) -> None:
    n, d = x.shape
    width = len(gram)
    for first in range(0, n, _BLOCK_ROWS):
        size = min(_BLOCK_ROWS, n - first)
        for r in range(size):
            root = np.sqrt(weight[first + r])
            _scale(x[first + r], root, rows[r])
            rows[r, d] = y[first + r] * root
        block = rows[:size]
        for i in range(0, width, TILE):
            j = i
            while width - j >= 3 * TILE:
                _add_three(block, gram, i, j)
                j += 3 * TILE
            if width - j == 2 * TILE:
                _add_two(block, gram, i, j)
            elif width - j == TILE:
                _add_one(block, gram, i, j)


@kernel
def _scale(numbers: F32 | F64, factor: np.float64, out: F64) -> None:
    for c in range(numbers.size):
        out[c] = np.float64(numbers[c]) * factor


if INTERPRETED:

    def _make_add(n_vectors: int) -> Any:
        def add(rows: F64, gram: F64, i: int, j: int) -> None:
            past = j + n_vectors * TILE
            gram[i : i + TILE, j:past] += rows[:, i : i + TILE].T @ rows[:, j:past]

        return add

else:
    _DOUBLES: Final = ir.VectorType(ir.DoubleType(), TILE)

    def _make_add(n_vectors: int) -> Any:
        @intrinsic
        def add(typing_context: Any, rows: Any, gram: Any, i: Any, j: Any) -> Any:
            """Add to a tile the products of its rows and columns over all of `rows`, of which there is one at least."""

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                rows, gram = vectors.arrays_of(context, builder, signature, arguments)
                i, j = arguments[2:]
                width = vectors.length(builder, gram, 1)

                def vector_at(start: Value, v: int) -> Value:
                    place = vectors.at(builder, start, v * TILE)
                    return builder.bitcast(place, _DOUBLES.as_pointer())

                def row(r: Value, sums: list[Value]) -> list[Value]:
                    start = vectors.at(builder, rows.data, builder.mul(r, width))
                    right = [
                        builder.load(vector_at(vectors.at(builder, start, j), v), align=8)
                        for v in range(n_vectors)
                    ]
                    left = vectors.at(builder, start, i)
                    added = []
                    for k in range(TILE):
                        factor = _splat(builder, builder.load(vectors.at(builder, left, k)))
                        added += [
                            _multiply_add(builder, factor, right[v], sums[k * n_vectors + v])
                            for v in range(n_vectors)
                        ]
                    return added

                zeros = [ir.Constant(_DOUBLES, [0.0] * TILE)] * (TILE * n_vectors)
                sums = repeat(builder, count(0), vectors.length(builder, rows), 1, zeros, row)
                for k in range(TILE):
                    place = builder.add(builder.mul(builder.add(i, count(k)), width), j)
                    for v in range(n_vectors):
                        goal = vector_at(vectors.at(builder, gram.data, place), v)
                        total = builder.fadd(builder.load(goal, align=8), sums[k * n_vectors + v])
                        builder.store(total, goal, align=8)
                return context.get_dummy_value()

            return types.void(rows, gram, types.int64, types.int64), generate

        return add

    def _splat(builder: Any, number: Value) -> Value:
        undefined = ir.Constant(_DOUBLES, ir.Undefined)
        first = builder.insert_element(undefined, number, vectors.index(0))
        everywhere = ir.Constant(ir.VectorType(vectors.WORD, TILE), [0] * TILE)
        return builder.shuffle_vector(first, undefined, everywhere)

    def _multiply_add(builder: Any, a: Value, b: Value, c: Value) -> Value:
        name, known = f"llvm.fma.v{TILE}f64", builder.module.globals
        kind = ir.FunctionType(_DOUBLES, [_DOUBLES] * 3)
        function = known[name] if name in known else ir.Function(builder.module, kind, name)
        return builder.call(function, (a, b, c))


_add_one = _make_add(1)
_add_two = _make_add(2)
_add_three = _make_add(3)
