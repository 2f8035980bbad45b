"""The leaf that each member reaches in a tree, 64 members an instruction, found without walking.

A feature is first replaced by its rank, the number of the trees' thresholds that it exceeds: one byte, which says
all that any node can ask. Then the nodes of a tree pass by, each before those below it. The place of a member is
the leftmost leaf of the subtree where it is, so at a node a member is there if its place is the node's
leftmost leaf, and goes right if moreover its rank exceeds the node's: its place becomes the leftmost leaf on the
right. Two comparisons of bytes and a choice, the same for all, and no branch waits for another.

Leaves are told apart by equality only, so that their numbers are the model's own.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from decider_core import vectors
from decider_core.compile import F32, F64, I64, INTERPRETED, U8
from decider_core.vectors import BYTE, BYTES, FLOATS, VECTOR, WORD, WORDS, Value, count, repeat

LANES: Final = 512
"""Members in a tile: their places in a tree stay in eight registers while its nodes pass by."""
FEW_LANES: Final = 64
"""Members in the tile of a small batch, in one register."""
LEAST_TO_TURN: Final = 16
"""The least number of rows and columns of what :func:`turn` transposes."""
LEVELS: Final = (4, 6, 8)
"""Of the searches for ranks: among 15, 63 and 255 thresholds."""
FEW_LEAVES: Final = 32
"""Values that :func:`add_values_of_few` looks up in four registers."""
TREES_AT_ONCE: Final = 4
"""Trees between a load and a store of the sums, whose values are added in their order."""

_ZERO: Final = float(np.float32(1e-35))

if INTERPRETED:

    def _search(levels: int) -> Any:
        def find(numbers: F32, table: F32, ranks: U8, missing: int, zero_missing: int) -> None:
            zero = np.abs(numbers) <= _ZERO
            place = np.ones(len(numbers), np.int64)
            for _ in range(levels):
                place = 2 * place + (np.where(zero, np.float32(0.0), numbers) > table[place])
            lacks = np.isnan(numbers) | (zero & bool(zero_missing))
            ranks[:] = np.where(lacks, missing, place - (1 << levels))

        return find

    def _find(lanes: int) -> Any:
        def find(
            tile: U8,
            row: I64,
            rank: U8,
            here: U8,
            right: U8,
            places: U8,
            leftmost: int,
            first: int,
            last: int,
        ) -> None:
            places[:] = leftmost
            for node in range(first, last):
                places[(tile[row[node]] > rank[node]) & (places == here[node])] = right[node]

        return find

    def turn(source: NDArray[Any], out: NDArray[Any]) -> None:
        """Stand in for the compiled transposition."""
        out[:, : len(source)] = source.T

    def add_values_of_few(values: F64, places: U8, sums: F64) -> None:
        """Stand in for the compiled sums."""
        for tree in range(len(values)):
            sums += values[tree][places[tree]]

else:
    _SPAN: Final = 64
    _SPAN_BYTES: Final = ir.VectorType(BYTE, _SPAN)

    def _search(levels: int) -> Any:
        @intrinsic
        def find(
            typing_context: Any, numbers: Any, table: Any, ranks: Any, missing: Any, zero_missing: Any
        ) -> Any:
            """Write how many thresholds each member's number exceeds; `missing` for NaN, and zeros if so told.

            What lies within 1e-35 of zero is zero.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                arrays = vectors.arrays_of(context, builder, signature, arguments)
                lanes = vectors.length(builder, arrays[0])
                numbers, table, ranks = (array.data for array in arrays)
                missing = vectors.splat(builder, builder.trunc(arguments[3], WORD))
                zeros = vectors.splat(builder, builder.trunc(arguments[4], ir.IntType(1)))
                registers = [
                    vectors.load(builder, vectors.at(builder, table, r * VECTOR))
                    for r in range((1 << levels) // VECTOR if vectors.AVX512 else 0)
                ]

                def sixteen(i: Value, carried: list[Value]) -> list[Value]:
                    x = vectors.load(builder, vectors.at(builder, numbers, i))
                    lacks = builder.fcmp_unordered("uno", x, x)
                    # Two comparisons: NaN fails both.
                    zero = builder.and_(
                        builder.fcmp_ordered("<=", x, vectors.constants(FLOATS, _ZERO)),
                        builder.fcmp_ordered(">=", x, vectors.constants(FLOATS, -_ZERO)),
                    )
                    x = builder.select(zero, vectors.ZEROS, x)
                    lacks = builder.or_(lacks, builder.and_(zero, zeros))
                    place = vectors.constants(WORDS, 1)
                    for level in range(levels):
                        bound = _look_up(builder, table, registers, place, level)
                        above = builder.zext(builder.fcmp_ordered(">", x, bound), WORDS)
                        place = builder.add(builder.add(place, place), above)
                    found = builder.sub(place, vectors.constants(WORDS, 1 << levels))
                    found = builder.trunc(builder.select(lacks, missing, found), BYTES)
                    vectors.store(builder, found, vectors.at(builder, ranks, i))
                    return carried

                repeat(builder, count(0), lanes, VECTOR, [], sixteen)
                return context.get_dummy_value()

            return types.void(numbers, table, ranks, types.int64, types.int64), generate

        return find

    def _find(lanes: int) -> Any:
        @intrinsic
        def find(
            typing_context: Any,
            tile: Any,
            row: Any,
            rank: Any,
            here: Any,
            right: Any,
            places: Any,
            leftmost: Any,
            first: Any,
            last: Any,
        ) -> Any:
            """Write the leaf that each lane reaches in a tree, u8[lanes].

            The tree has the nodes first to last - 1, at least one, each before those below it. At a node the members
            in leaf `here`, its leftmost, whose byte in the row of the tile exceeds `rank` move to leaf `right`.
            All begin at the leaf `leftmost`.
            """

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                arrays = vectors.arrays_of(context, builder, signature, arguments)
                tile, row, rank, here, right, places = (array.data for array in arrays)
                leftmost, first, last = arguments[6:]

                def node(i: Value, at: list[Value]) -> list[Value]:
                    members = builder.mul(builder.load(vectors.at(builder, row, i)), count(lanes))
                    members = vectors.at(builder, tile, members)
                    bound, mine, other = (
                        _everywhere(builder, builder.load(vectors.at(builder, each, i)))
                        for each in (rank, here, right)
                    )
                    for v in range(lanes // _SPAN):
                        x = builder.load(_span(builder, vectors.at(builder, members, v * _SPAN)), align=1)
                        moves = builder.and_(
                            builder.icmp_unsigned(">", x, bound), builder.icmp_unsigned("==", at[v], mine)
                        )
                        at[v] = builder.select(moves, other, at[v])
                    return at

                start = _everywhere(builder, builder.trunc(leftmost, BYTE))
                for v, leaves in enumerate(repeat(builder, first, last, 1, [start] * (lanes // _SPAN), node)):
                    builder.store(leaves, _span(builder, vectors.at(builder, places, v * _SPAN)), align=1)
                return context.get_dummy_value()

            numbers = (types.int64,) * 3
            return types.void(tile, row, rank, here, right, places, *numbers), generate

        return find

    @intrinsic
    def turn(typing_context: Any, source: Any, out: Any) -> Any:
        """Write the transpose of a matrix; rows may have gaps after them, there are at least 16 either way."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, out = vectors.arrays_of(context, builder, signature, arguments)
            from_stride, to_stride = vectors.row_stride(builder, source), vectors.row_stride(builder, out)
            n_rows, n_columns = vectors.length(builder, source), vectors.length(builder, source, 1)
            final_row, final_column = (builder.sub(n, count(VECTOR)) for n in (n_rows, n_columns))

            def place(array: Any, stride: Value, row: Value, column: Value) -> Value:
                return vectors.at(builder, array.data, builder.add(builder.mul(row, stride), column))

            # Of a side that is no multiple of sixteen the last square overlaps the one before it.
            def rows(r: Value, carried: list[Value]) -> list[Value]:
                r = _least(builder, r, final_row)

                def square(c: Value, carried: list[Value]) -> list[Value]:
                    c = _least(builder, c, final_column)
                    lines = [
                        vectors.load(builder, place(source, from_stride, builder.add(r, count(i)), c))
                        for i in range(VECTOR)
                    ]
                    for i, line in enumerate(vectors.transpose(builder, lines)):
                        vectors.store(builder, line, place(out, to_stride, builder.add(c, count(i)), r))
                    return carried

                return repeat(builder, count(0), n_columns, VECTOR, carried, square)

            repeat(builder, count(0), n_rows, VECTOR, [], rows)
            return context.get_dummy_value()

        return types.void(source, out), generate

    _DOUBLE: Final = ir.DoubleType()
    _EIGHT: Final = 8
    _DOUBLES: Final = ir.VectorType(_DOUBLE, _EIGHT)
    _INTS: Final = ir.VectorType(vectors.INT, _EIGHT)

    @intrinsic
    def add_values_of_few(typing_context: Any, values: Any, places: Any, sums: Any) -> Any:
        """Add to the sums f64[lanes] the values f64[4, 32] of the leaves u8[4, lanes] of four trees, in their order.

        Lanes are a multiple of eight; both matrices have rows without gaps.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = vectors.arrays_of(context, builder, signature, arguments)
            values, places, sums = (array.data for array in arrays)
            lanes = vectors.length(builder, arrays[2])
            # Sixteen of the registers hold the values of all four trees while the lanes pass by.
            held = [
                [
                    builder.load(_eight(builder, values, tree * FEW_LEAVES + v * _EIGHT, _DOUBLES), align=8)
                    for v in range(FEW_LEAVES // _EIGHT)
                ]
                for tree in range(TREES_AT_ONCE)
            ]
            sixteen = ir.Constant(_INTS, [2 * _EIGHT] * _EIGHT)

            def eight(i: Value, carried: list[Value]) -> list[Value]:
                total = builder.load(_eight(builder, sums, i, _DOUBLES), align=8)
                for tree, (a, b, c, d) in enumerate(held):
                    at = builder.add(builder.mul(count(tree), lanes), i)
                    leaves = builder.load(_eight(builder, places, at, ir.VectorType(BYTE, _EIGHT)), align=1)
                    leaves = builder.zext(leaves, _INTS)
                    low, high = (_permute_doubles(builder, x, leaves, y) for x, y in ((a, b), (c, d)))
                    upper = builder.icmp_unsigned(">=", leaves, sixteen)
                    total = builder.fadd(total, builder.select(upper, high, low))
                builder.store(total, _eight(builder, sums, i, _DOUBLES), align=8)
                return carried

            repeat(builder, count(0), lanes, _EIGHT, [], eight)
            return context.get_dummy_value()

        return types.void(values, places, sums), generate

    def _eight(builder: Any, pointer: Value, offset: Value | int, kind: Any) -> Value:
        return builder.bitcast(vectors.at(builder, pointer, offset), kind.as_pointer())

    def _permute_doubles(builder: Any, low: Value, place: Value, high: Value) -> Value:
        return vectors.call_named(builder, "llvm.x86.avx512.vpermi2var.pd.512", low, place, high)

    def _least(builder: Any, a: Value, b: Value) -> Value:
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    def _look_up(builder: Any, table: Value, registers: list[Value], place: Value, level: int) -> Value:
        """Return ``table[place]``, where ``2**level <= place < 2**(level + 1)``."""
        if not registers:
            found = vectors.ZEROS
            for lane in range(VECTOR):
                one = builder.zext(builder.extract_element(place, vectors.index(lane)), vectors.INT)
                number = builder.load(vectors.at(builder, table, one))
                found = builder.insert_element(found, number, vectors.index(lane))
            return found
        if level < 5:
            return _permute(builder, registers[level // 4], place)
        held = registers[(1 << level) // VECTOR : (2 << level) // VECTOR]
        found = [
            _permute_two(builder, low, place, high) for low, high in zip(held[::2], held[1::2], strict=True)
        ]
        bit = 2 * VECTOR
        while len(found) > 1:
            odd = builder.and_(place, vectors.constants(WORDS, bit))
            chosen = builder.icmp_unsigned("!=", odd, vectors.constants(WORDS, 0))
            found = [
                builder.select(chosen, high, low) for low, high in zip(found[::2], found[1::2], strict=True)
            ]
            bit *= 2
        return found[0]

    def _permute(builder: Any, numbers: Value, place: Value) -> Value:
        return vectors.call_named(builder, "llvm.x86.avx512.permvar.sf.512", numbers, place)

    def _permute_two(builder: Any, low: Value, place: Value, high: Value) -> Value:
        return vectors.call_named(builder, "llvm.x86.avx512.vpermi2var.ps.512", low, place, high)

    def _everywhere(builder: Any, byte: Value) -> Value:
        first = builder.insert_element(ir.Constant(_SPAN_BYTES, ir.Undefined), byte, vectors.index(0))
        zeros = ir.Constant(ir.VectorType(WORD, _SPAN), [0] * _SPAN)
        return builder.shuffle_vector(first, ir.Constant(_SPAN_BYTES, ir.Undefined), zeros)

    def _span(builder: Any, pointer: Value) -> Value:
        return builder.bitcast(pointer, _SPAN_BYTES.as_pointer())


find_ranks_15, find_ranks_63, find_ranks_255 = (_search(levels) for levels in LEVELS)
find_leaves, find_leaves_of_few = _find(LANES), _find(FEW_LANES)
