"""Keyed normals of many lanes for one candidate, a vector at a time: from states to bits to numbers in registers.

A lane is a member, or a replay of one member. Lanes beyond the last whole vector are worked on one by one, with the
same operations: a lane's number does not depend on how many there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from decider_core import vectors
from decider_core.compile import F32, INTERPRETED, U64, fma, inline
from decider_core.inverse_normal import normal_of_bits, normals_of_bits
from decider_core.splitmix import pair_bits, pair_bits_of
from decider_core.vectors import VECTOR, Value, count, repeat


@inline
def fill_normals(states: U64, candidate_key: np.uint64, row: F32) -> None:
    """Fill `row` with the normal number of each lane; `states` are those of `splitmix.member_state`."""
    n_whole = row.size // VECTOR * VECTOR
    if n_whole > 0:
        _draw_normals(states, candidate_key, row, n_whole)
    for r in range(n_whole, row.size):
        row[r] = normal_of_bits(pair_bits(states[r], candidate_key))


@inline
def fill_values(states: U64, candidate_key: np.uint64, mean: F32, sd: F32, row: F32) -> None:
    """Fill `row` with ``mean + sd * normal`` of each lane, rounded once."""
    n_whole = row.size // VECTOR * VECTOR
    if n_whole > 0:
        _draw_values(states, mean, sd, candidate_key, row, n_whole)
    for r in range(n_whole, row.size):
        row[r] = fma(sd[r], normal_of_bits(pair_bits(states[r], candidate_key)), mean[r])


if INTERPRETED:

    def _draw_normals(states: U64, candidate_key: np.uint64, row: F32, n: int) -> None:
        for r in range(n):
            row[r] = normal_of_bits(pair_bits(states[r], candidate_key))

    def _draw_values(states: U64, mean: F32, sd: F32, candidate_key: np.uint64, row: F32, n: int) -> None:
        for r in range(n):
            row[r] = fma(sd[r], normal_of_bits(pair_bits(states[r], candidate_key)), mean[r])

else:

    @intrinsic
    def _draw_normals(typing_context: Any, states: Any, candidate_key: Any, row: Any, n: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            states, row = vectors.arrays_of(context, builder, signature, arguments)

            def block(lane: Value, _: list[Value]) -> list[Value]:
                vectors.store(
                    builder,
                    _normals(builder, states, lane, arguments[1]),
                    vectors.at(builder, row.data, lane),
                )
                return []

            repeat(builder, count(0), arguments[3], VECTOR, [], block)
            return context.get_dummy_value()

        return types.void(states, types.uint64, row, types.int64), generate

    @intrinsic
    def _draw_values(
        typing_context: Any, states: Any, mean: Any, sd: Any, candidate_key: Any, row: Any, n: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            states, mean, sd, row = vectors.arrays_of(context, builder, signature, arguments)

            def block(lane: Value, _: list[Value]) -> list[Value]:
                normals = _normals(builder, states, lane, arguments[3])
                centre, scale = (
                    vectors.load(builder, vectors.at(builder, each.data, lane)) for each in (mean, sd)
                )
                values = vectors.multiply_add(builder, scale, normals, centre)
                vectors.store(builder, values, vectors.at(builder, row.data, lane))
                return []

            repeat(builder, count(0), arguments[5], VECTOR, [], block)
            return context.get_dummy_value()

        return types.void(states, mean, sd, types.uint64, row, types.int64), generate

    def _normals(builder: Any, states: Any, lane: Value, candidate_key: Value) -> Value:
        state = vectors.load(builder, vectors.at(builder, states.data, lane))
        return normals_of_bits(builder, pair_bits_of(builder, state, candidate_key))
