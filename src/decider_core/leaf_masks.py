"""The leaf that each lane reaches in a tree, found by masks of leaves and not by walking.

Bit i of a mask is leaf i from the left. A member that goes right at a node cannot end in the leaves of its left
subtree: the node's mask clears them. Once all nodes are seen, in any order, the lowest bit that is left is
the leaf. So every lane does the same work, and no branch waits for another.

References
----------
.. [1] Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
   trees", SIGIR 2015, section 3.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, I64, INTERPRETED, U8, U32
from decider_core.vectors import VECTOR, Value, count, repeat

LANES: Final = 128
"""Members in a tile: eight vectors of masks stay in registers while a tree's nodes pass by."""

if INTERPRETED:

    def find_leaves(
        tile: F32, row: I64, threshold: F32, mask: U32, places: U8, first: int, middle: int, last: int
    ) -> None:
        """Stand in for the compiled search."""
        left = np.full(LANES, 0xFFFFFFFF, np.uint32)
        for node in range(first, last):
            x = tile[row[node]]
            right = x > threshold[node] if node < middle else ~(x <= threshold[node])
            left[right] &= mask[node]
        lowest = left & (~left + np.uint32(1))
        places[:] = np.log2(lowest.astype(np.float64)).astype(np.uint8)

else:
    _ALL: Final = vectors.constants(vectors.WORDS, -1)

    @intrinsic
    def find_leaves(
        typing_context: Any,
        tile: Any,
        row: Any,
        threshold: Any,
        mask: Any,
        places: Any,
        first: Any,
        middle: Any,
        last: Any,
    ) -> Any:
        """Write the place of the leaf, from the left, that each of LANES members reaches, u8[LANES].

        A member goes right at a node if its feature exceeds the threshold; at the nodes first to middle - 1 a
        NaN goes left, at middle to last - 1 right. There is at least one of each.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            tile, row, threshold, mask, places = (array.data for array in arrays)
            first, middle, last = arguments[5:]

            def nodes(start: Value, end: Value, left: list[Value], nan_goes_right: bool) -> list[Value]:
                compare = builder.fcmp_unordered if nan_goes_right else builder.fcmp_ordered

                def node(i: Value, left: list[Value]) -> list[Value]:
                    members = builder.mul(builder.load(vectors.at(builder, row, i)), count(LANES))
                    members = vectors.at(builder, tile, members)
                    bound = vectors.broadcast(builder, threshold, i)
                    kept = vectors.broadcast(builder, mask, i)
                    for v in range(LANES // VECTOR):
                        x = vectors.load(builder, vectors.at(builder, members, v * VECTOR))
                        right = compare(">", x, bound)
                        left[v] = builder.select(right, builder.and_(left[v], kept), left[v])
                    return left

                return repeat(builder, start, end, 1, left, node)

            left = nodes(first, middle, [_ALL] * (LANES // VECTOR), False)
            left = nodes(middle, last, left, True)
            for v, leaves in enumerate(left):
                place = builder.trunc(vectors.trailing_zeros(builder, leaves), vectors.BYTES)
                vectors.store(builder, place, vectors.at(builder, places, v * VECTOR))
            return context.get_dummy_value()

        integers = (types.int64,) * 3
        return types.void(tile, row, threshold, mask, places, *integers), generate
