"""What a policy is worth in a row under a reward model: ``sum(chances q)``, and whether both are what they must be."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, INTERPRETED, kernel

if INTERPRETED:

    def _whole_vectors(chances: F32, q: F32, row: int) -> tuple[float, float, int]:
        whole = chances.shape[1] // vectors.VECTOR * vectors.VECTOR
        c, v = chances[row, :whole].astype(np.float64), q[row, :whole].astype(np.float64)
        wrong = ~np.isfinite(v) | ~((c >= 0.0) & (c <= 1.0))
        return float((c * v).sum()), float(c.sum()), int(wrong.any())

else:
    _HALF = ir.VectorType(ir.DoubleType(), vectors.VECTOR // 2)

    @intrinsic
    def _whole_vectors(typing_context: Any, chances: Any, q: Any, row: Any) -> Any:
        """Return the two sums over the whole vectors of a row, and not 0 if a number in them is wrong."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            row = arguments[-1]
            chances, q = (
                vectors.at(builder, array.data, builder.mul(row, vectors.row_stride(builder, array)))
                for array in arrays
            )
            length = vectors.length(builder, arrays[0], 1)
            end = builder.and_(length, vectors.count(-vectors.VECTOR))
            one = vectors.constants(vectors.FLOATS, 1.0)
            nothing = ir.Constant(_HALF, [0.0] * (vectors.VECTOR // 2))

            def sums(k: Any, carried: list[Any]) -> list[Any]:
                c, v = (vectors.load(builder, vectors.at(builder, start, k)) for start in (chances, q))
                # v - v is 0 for every finite v, and NaN for the others; so is no comparison with NaN true.
                good = builder.fcmp_ordered("==", builder.fsub(v, v), vectors.ZEROS)
                good = builder.and_(good, builder.fcmp_ordered(">=", c, vectors.ZEROS))
                good = builder.and_(good, builder.fcmp_ordered("<=", c, one))
                wrong = builder.xor(builder.bitcast(good, vectors.SHORT), ir.Constant(vectors.SHORT, -1))
                halves = list(zip(_halves(builder, c), _halves(builder, v), strict=True))
                return [
                    *(
                        builder.fadd(d, builder.fmul(a, b))
                        for d, (a, b) in zip(carried[:2], halves, strict=True)
                    ),
                    *(builder.fadd(s, a) for s, (a, _) in zip(carried[2:4], halves, strict=True)),
                    builder.or_(carried[4], wrong),
                ]

            before = builder.block
            some = builder.append_basic_block("some")
            after = builder.append_basic_block("done")
            start = [nothing] * 4 + [ir.Constant(vectors.SHORT, 0)]
            builder.cbranch(builder.icmp_signed(">", end, vectors.count(0)), some, after)
            builder.position_at_end(some)
            found = vectors.repeat(builder, vectors.count(0), end, vectors.VECTOR, start, sums)
            last = builder.block
            builder.branch(after)
            builder.position_at_end(after)
            totals = []
            for none, value in zip(start, found, strict=True):
                total = builder.phi(value.type)
                total.add_incoming(none, before)
                total.add_incoming(value, last)
                totals.append(total)
            dot = _added(builder, builder.fadd(totals[0], totals[1]))
            total = _added(builder, builder.fadd(totals[2], totals[3]))
            wrong = builder.zext(totals[4], vectors.INT)
            return context.make_tuple(builder, signature.return_type, (dot, total, wrong))

        kind = types.Tuple((types.float64, types.float64, types.int64))  # type: ignore[no-untyped-call]
        return kind(chances, q, types.int64), generate

    def _halves(builder: Any, floats: Any) -> list[Any]:
        undefined = ir.Constant(vectors.FLOATS, ir.Undefined)
        half = vectors.VECTOR // 2
        kind = ir.VectorType(vectors.WORD, half)
        return [
            builder.fpext(
                builder.shuffle_vector(
                    floats, undefined, ir.Constant(kind, list(range(first, first + half)))
                ),
                _HALF,
            )
            for first in (0, half)
        ]

    def _added(builder: Any, doubles: Any) -> Any:
        """Sum the lanes, pair by pair."""
        width = vectors.VECTOR // 2
        while width > 1:
            width //= 2
            kind = ir.VectorType(vectors.WORD, width)
            undefined = ir.Constant(doubles.type, ir.Undefined)
            lower, upper = (
                builder.shuffle_vector(
                    doubles, undefined, ir.Constant(kind, list(range(first, first + width)))
                )
                for first in (0, width)
            )
            doubles = builder.fadd(lower, upper)
        return builder.extract_element(doubles, vectors.index(0))


@kernel
def expected_value(chances: F32, q: F32, row: int) -> tuple[float, float, int]:
    """Return ``sum(chances q)`` and ``sum(chances)`` of a row, and how many of its numbers are wrong.

    Parameters
    ----------
    chances : f32[n, n_actions]
        Wrong where not in [0, 1].
    q : f32[n, n_actions]
        Wrong where not finite.
    row
        In [0, n).

    Returns
    -------
    Sums in float64, and a number that is 0 if nothing is wrong.
    """
    dot, total, n_wrong = _whole_vectors(chances, q, row)
    n = chances.shape[1]
    for k in range(n // vectors.VECTOR * vectors.VECTOR, n):
        c, v = chances[row, k], q[row, k]
        dot += np.float64(c) * np.float64(v)
        total += np.float64(c)
        n_wrong += v - v != np.float32(0.0)
        n_wrong += not (c >= np.float32(0.0) and c <= np.float32(1.0))
    return dot, total, n_wrong
