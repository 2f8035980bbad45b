"""Members in and results out of the tiles of :mod:`decider_core.microkernel`, a vector at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, INTERPRETED
from decider_core.microkernel import LANES
from decider_core.vectors import VECTOR, Value, count, repeat

if INTERPRETED:

    def turn_blocks(members: F32, tile: F32) -> None:
        """Stand in for the compiled transpose."""
        n_features = members.shape[1] // VECTOR * VECTOR
        tile[:n_features] = members[:, :n_features].T

    def fetch(numbers: F32) -> None:
        """Stand in for the compiled prefetch: nothing to do."""

    def copy_rows(rows: F32, out: F32) -> None:
        """Stand in for the compiled copy."""
        out[:] = rows[: len(out)]

    def copy_roots(rows: F32, out: F32) -> None:
        """Stand in for the compiled copy."""
        out[:] = np.sqrt(rows[: len(out)])

else:

    @intrinsic
    def turn_blocks(typing_context: Any, members: Any, tile: Any) -> Any:
        """``tile[i, lane] = members[lane, i]`` for LANES members and their first features.

        Features beyond the last multiple of VECTOR are left, and there must be VECTOR of them at least.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            members, tile = vectors.arrays_of(context, builder, signature, arguments)
            stride = vectors.row_stride(builder, members)
            n_features = vectors.length(builder, members, 1)
            past = builder.sub(n_features, count(VECTOR - 1))

            def block(feature: Value, _: list[Value]) -> list[Value]:
                for lane in range(0, LANES, VECTOR):
                    rows = []
                    for r in range(VECTOR):
                        place = builder.add(builder.mul(count(lane + r), stride), feature)
                        rows.append(vectors.load(builder, vectors.at(builder, members.data, place)))
                    for i, column in enumerate(vectors.transpose(builder, rows)):
                        place = builder.mul(builder.add(feature, count(i)), count(LANES))
                        place = builder.add(place, count(lane))
                        vectors.store(builder, column, vectors.at(builder, tile.data, place))
                return []

            repeat(builder, count(0), past, VECTOR, [], block)
            return context.get_dummy_value()

        return types.void(members, tile), generate

    @intrinsic
    def fetch(typing_context: Any, numbers: Any) -> Any:
        """Ask for the memory of one row of numbers, which will be read soon, without waiting for it."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (numbers,) = vectors.arrays_of(context, builder, signature, arguments)

            def line(place: Value, _: list[Value]) -> list[Value]:
                vectors.prefetch(builder, vectors.at(builder, numbers.data, place))
                return []

            # A vector of numbers is a line of the cache.
            repeat(builder, count(0), vectors.length(builder, numbers), VECTOR, [], line)
            return context.get_dummy_value()

        return types.void(numbers), generate

    def _make_copy(root: bool) -> Any:
        @intrinsic
        def copy(typing_context: Any, rows: Any, out: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                rows, out = vectors.arrays_of(context, builder, signature, arguments)
                stride = vectors.row_stride(builder, out)

                def row(k: Value, _: list[Value]) -> list[Value]:
                    start = vectors.at(builder, rows.data, builder.mul(k, count(LANES)))
                    goal = vectors.at(builder, out.data, builder.mul(k, stride))
                    for lane in range(0, LANES, VECTOR):
                        numbers = vectors.load(builder, vectors.at(builder, start, lane))
                        if root:
                            numbers = vectors.square_root(builder, numbers)
                        vectors.store(builder, numbers, vectors.at(builder, goal, lane))
                    return []

                repeat(builder, count(0), vectors.length(builder, out), 1, [], row)
                return context.get_dummy_value()

            return types.void(rows, out), generate

        return copy

    copy_rows = _make_copy(root=False)
    copy_roots = _make_copy(root=True)
