"""Words of LLVM for kernels that hold their sums in vector registers, which no compiler does by itself.

Used by :mod:`decider_core.microkernel`, :mod:`decider_core.choice` and :mod:`decider_core.leaf_search` to write
intrinsics. A builder (the first argument) receives the instructions; values are LLVM's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir

Value: TypeAlias = Any

VECTOR: Final = 16
"""Numbers in one register of AVX-512; narrower machines take two or four registers."""

BYTE: Final = ir.IntType(8)
SHORT: Final = ir.IntType(16)
WORD: Final = ir.IntType(32)
INT: Final = ir.IntType(64)
FLOAT: Final = ir.FloatType()
BYTES: Final = ir.VectorType(BYTE, VECTOR)
WORDS: Final = ir.VectorType(WORD, VECTOR)
INTS: Final = ir.VectorType(INT, VECTOR)
FLOATS: Final = ir.VectorType(FLOAT, VECTOR)


def _has_avx512() -> bool:
    """Whether the code that numba makes may use AVX-512: it names the machine's features unless told others."""
    named: str | None = getattr(numba.config, "CPU_FEATURES", None)
    if named is not None:
        return "+avx512f" in named.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))


AVX512: Final = _has_avx512()
ZEROS: Final = ir.Constant(FLOATS, [0.0] * VECTOR)


def count(n: int) -> Value:
    """Return the constant n, as an index."""
    return ir.Constant(INT, n)


def index(n: int) -> Value:
    """Return the constant n, as the index of a candidate."""
    return ir.Constant(WORD, n)


def multiply_add(builder: Any, a: Value, b: Value, c: Value) -> Value:
    """Return ``a*b + c`` of vectors, rounded once."""
    return _call(builder, "llvm.fma", a, b, c)


def square_root(builder: Any, a: Value) -> Value:
    """Return the square root of every float of a vector."""
    return _call(builder, "llvm.sqrt", a)


def look_up(builder: Any, table: Sequence[float], places: Value) -> Value:
    """Return ``table[place & 31]`` of every place of a vector of words; the table holds two vectors of floats."""
    if len(table) != 2 * VECTOR:
        raise ValueError(f"a table must hold {2 * VECTOR} numbers, got {len(table)}")
    halves = [
        ir.Constant(FLOATS, [float(number) for number in half]) for half in np.split(np.asarray(table), 2)
    ]
    if AVX512:
        return call_named(builder, "llvm.x86.avx512.vpermi2var.ps.512", halves[0], places, halves[1])
    both = ir.Constant(ir.ArrayType(FLOAT, 2 * VECTOR), [float(number) for number in table])
    held = ir.GlobalVariable(builder.module, both.type, builder.module.get_unique_name("table"))
    held.initializer, held.global_constant, held.linkage = both, True, "private"
    places = builder.and_(places, constants(WORDS, 2 * VECTOR - 1))
    found = ir.Constant(FLOATS, ir.Undefined)
    for lane in range(VECTOR):
        place = builder.extract_element(places, index(lane))
        number = builder.load(builder.gep(held, [index(0), place]))
        found = builder.insert_element(found, number, index(lane))
    return found


def look_up_words(builder: Any, table: Sequence[int], places: Value) -> Value:
    """Return ``table[place & 31]`` of every place of a vector of words; needs AVX-512."""
    first, second = table[:VECTOR], table[VECTOR:]
    return call_named(builder, "llvm.x86.avx512.vpermi2var.d.512", numbers(first), places, numbers(second))


def leading_zeros(builder: Any, words: Value) -> Value:
    """Return the number of leading zeros of every word, none of which is 0."""
    truth = ir.IntType(1)
    name = f"llvm.ctlz.v{VECTOR}i32"
    known = builder.module.globals
    kind = ir.FunctionType(WORDS, [WORDS, truth])
    function = known[name] if name in known else ir.Function(builder.module, kind, name)
    return builder.call(function, [words, ir.Constant(truth, 1)])


def call_named(builder: Any, name: str, *vectors: Value) -> Value:
    """Call a function of LLVM that takes vectors and gives one like the first, by its whole name."""
    known, kind = (
        builder.module.globals,
        ir.FunctionType(vectors[0].type, [vector.type for vector in vectors]),
    )
    function = known[name] if name in known else ir.Function(builder.module, kind, name)
    return builder.call(function, vectors)


def splat(builder: Any, number: Value) -> Value:
    """Fill a vector with one number."""
    kind = ir.VectorType(number.type, VECTOR)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(WORD, 0))
    everywhere = ir.Constant(ir.VectorType(WORD, VECTOR), [0] * VECTOR)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), everywhere)


def numbers(words: Sequence[int]) -> Value:
    """Return a vector of constant words."""
    return ir.Constant(WORDS, [int(word) for word in words])


def constants(kind: Any, number: float) -> Value:
    """Return a vector of one constant."""
    return ir.Constant(kind, [number] * VECTOR)


def at(builder: Any, pointer: Value, offset: Value | int) -> Value:
    """Return the pointer to the number that many places on."""
    return builder.gep(pointer, [count(offset) if isinstance(offset, int) else offset])


def broadcast(builder: Any, pointer: Value, offset: Value | int) -> Value:
    """Fill a vector with the number at `pointer + offset`."""
    return splat(builder, builder.load(at(builder, pointer, offset)))


def load(builder: Any, pointer: Value) -> Value:
    """Load the vector that begins at `pointer`; NumPy aligns its data to one number only."""
    return builder.load(_as_vector(builder, pointer), align=_size(pointer))


def store(builder: Any, vector: Value, pointer: Value) -> None:
    """Store a vector so that it begins at `pointer`."""
    builder.store(vector, _as_vector(builder, pointer), align=_size(pointer))


def prefetch(builder: Any, pointer: Value) -> None:
    """Bring the line that a pointer leads to into the cache, beside what else is done; it may lead anywhere."""
    name, known = "llvm.prefetch", builder.module.globals
    kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), WORD, WORD, WORD])
    function = known[name] if name in known else ir.Function(builder.module, kind, name)
    # To be read; to stay in all levels of the cache; data.
    builder.call(function, [builder.bitcast(pointer, BYTE.as_pointer()), index(0), index(3), index(1)])


def repeat(
    builder: Any,
    start: Value,
    end: Value,
    step: int,
    carried: Sequence[Value],
    body: Callable[[Value, list[Value]], list[Value]],
) -> list[Value]:
    """Emit ``do carried = body(i, carried) while ((i += step) < end)`` and return what is carried out.

    It starts from ``i = start`` and makes at least one turn. Carried values are registers, never memory.
    """
    before = builder.block
    turn = builder.append_basic_block("turn")
    after = builder.append_basic_block("after")
    builder.branch(turn)
    builder.position_at_end(turn)
    index = builder.phi(INT)
    index.add_incoming(start, before)
    registers = [builder.phi(value.type) for value in carried]
    for register, value in zip(registers, carried, strict=True):
        register.add_incoming(value, before)
    results = body(index, list(registers))
    following = builder.add(index, count(step))
    index.add_incoming(following, builder.block)
    for register, result in zip(registers, results, strict=True):
        register.add_incoming(result, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), turn, after)
    builder.position_at_end(after)
    return results


def arrays_of(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Return the arrays among the arguments, which must come first: with `data`, `shape` and `strides`."""
    return [
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(signature.args, arguments, strict=True)
        if hasattr(kind, "dtype")
    ]


def length(builder: Any, array: Any, axis: int = 0) -> Value:
    """Return the length of an array along an axis."""
    return builder.extract_value(array.shape, axis)


def row_stride(builder: Any, array: Any) -> Value:
    """Return how many numbers on the next row of an array begins."""
    n_bytes = builder.extract_value(array.strides, 0)
    return builder.sdiv(n_bytes, count(_size(array.data)))


def transpose(builder: Any, rows: Sequence[Value]) -> list[Value]:
    """Return the columns of a square of VECTOR rows.

    In rounds that exchange blocks of width 1, 2, 4, 8: after the round of width w, each square of side 2w on
    the diagonal of its own kind is transposed.
    """
    turned = list(rows)
    width = 1
    while width < VECTOR:
        lanes = range(VECTOR)
        upper = [i if not i & width else i - width + VECTOR for i in lanes]
        lower = [i + width if not i & width else i + VECTOR for i in lanes]
        for r in range(VECTOR):
            if not r & width:
                first, second = turned[r], turned[r + width]
                turned[r] = _shuffle(builder, first, second, upper)
                turned[r + width] = _shuffle(builder, first, second, lower)
        width *= 2
    return turned


def _shuffle(builder: Any, first: Value, second: Value, places: Sequence[int]) -> Value:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(WORD, len(places)), list(places)))


def _call(builder: Any, name: str, *vectors: Value) -> Value:
    """Call what returns a vector of floats for vectors of floats, by the name that goes before its type."""
    return call_named(builder, f"{name}.v{VECTOR}f32", *vectors)


def _as_vector(builder: Any, pointer: Value) -> Value:
    return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, VECTOR).as_pointer())


def _size(pointer: Value) -> int:
    kind = pointer.type.pointee
    return 4 if kind == FLOAT else int(kind.width) // 8
