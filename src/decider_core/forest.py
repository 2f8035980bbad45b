"""Leaves and scores of gradient boosted trees, many members at a time, equal to LightGBM's own."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from decider_core.compile import F32, F64, INTERPRETED, U8, U32, inline, kernel
from decider_core.contracts import check_array, check_output
from decider_core.leaf_search import (
    FEW_LANES,
    FEW_LEAVES,
    LANES,
    LEAST_TO_TURN,
    add_values_of_few,
    find_leaves,
    find_leaves_of_few,
    find_ranks_15,
    find_ranks_63,
    find_ranks_255,
    turn,
)
from decider_core.trees import PackedForest
from decider_core.vectors import AVX512

_IN_REGISTERS: Final = AVX512 or INTERPRETED


def forest_leaves(packed: PackedForest, x: F32, out: U8 | None = None) -> U8:
    """Return the model's number of the leaf that every member reaches in every tree, u8[n_members, n_trees].

    Parameters
    ----------
    packed
        From :func:`decider_core.trees.pack_forest`.
    x : f32[n_members, n_features]
        Features; NaN is allowed. As in LightGBM, what lies within 1e-35 of zero is zero.
    out : u8[n_members, n_trees], optional
        Where to write.
    """
    x = check_array("x", x, np.float32, (None, packed.n_features))
    n_trees = len(packed.leftmost)
    out = check_output("out", out, np.uint8, (len(x), n_trees))
    _leaves(packed, x, *_scratch(packed, len(x), n_trees), out)
    return out


def forest_scores(packed: PackedForest, x: F32, out: F64 | None = None) -> F64:
    """Return the sum of the leaf values of every member, tree after tree in float64, f64[n_members].

    Parameters are those of :func:`forest_leaves`; out is f64[n_members].
    """
    x = check_array("x", x, np.float32, (None, packed.n_features))
    out = check_output("out", out, np.float64, (len(x),))
    _scores(packed, x, *_scratch(packed, len(x), 4), out)
    return out


def _scratch(packed: PackedForest, n_members: int, n_trees: int) -> tuple[F32, U8, U8]:
    """Return the features of a tile, its ranks, and the places of its members in each tree."""
    lanes = FEW_LANES if n_members <= FEW_LANES else LANES
    return (
        np.zeros((packed.n_features, lanes), np.float32),
        np.zeros((packed.n_rows, lanes), np.uint8),
        np.empty((n_trees, lanes), np.uint8),
    )


@inline
def _fill_tile(packed: PackedForest, x: F32, numbers: F32, tile: U8) -> None:
    _turn(x, numbers)
    n_searches = packed.search_feature.size
    for row in range(n_searches):
        _rank(packed, row, numbers[packed.search_feature[row]], tile[row])
    for k in range(packed.category_feature.size):
        words = packed.category_words[packed.category_offsets[k] : packed.category_offsets[k + 1]]
        feature = packed.category_feature[k]
        for lane in range(x.shape[0]):
            tile[n_searches + k, lane] = not _is_in(numbers[feature, lane], words)


@inline
def _turn(source: NDArray[Any], out: NDArray[Any]) -> None:
    if min(source.shape) >= LEAST_TO_TURN:
        turn(source, out)
    else:
        for i in range(source.shape[0]):
            for j in range(source.shape[1]):
                out[j, i] = source[i, j]


@inline
def _rank(packed: PackedForest, row: int, numbers: F32, ranks: U8) -> None:
    table, levels = packed.search_table[row], packed.search_levels[row]
    missing, zeros = np.int64(packed.missing_rank[row]), np.int64(packed.zero_missing[row])
    if levels == 4:
        find_ranks_15(numbers, table, ranks, missing, zeros)
    elif levels == 6:
        find_ranks_63(numbers, table, ranks, missing, zeros)
    else:
        find_ranks_255(numbers, table, ranks, missing, zeros)


@inline
def _is_in(number: float, words: U32) -> bool:
    # False for NaN. As in LightGBM, what lies between -1 and 0 is category 0.
    if not (number > np.float32(-1.0) and number < np.float32(32 * words.size)):
        return False
    category = np.int64(number)
    return bool((words[category // 32] >> np.uint32(category % 32)) & np.uint32(1))


@inline
def _find_leaves(packed: PackedForest, tile: U8, tree: int, places: U8) -> None:
    first, past = packed.nodes[tree], packed.nodes[tree + 1]
    leftmost = packed.leftmost[tree]
    if first == past:
        places[:] = np.uint8(leftmost)
        return
    row, rank, here, to_right = packed.row, packed.rank, packed.here, packed.to_right
    if places.size == LANES:
        find_leaves(tile, row, rank, here, to_right, places, leftmost, first, past)
    else:
        find_leaves_of_few(tile, row, rank, here, to_right, places, leftmost, first, past)


@kernel
def _leaves(packed: PackedForest, x: F32, numbers: F32, tile: U8, places: U8, out: U8) -> None:
    # In the last tile the lanes beyond the last member keep what was there: nobody reads their places.
    lanes = tile.shape[1]
    for first in range(0, len(x), lanes):
        past = min(first + lanes, len(x))
        _fill_tile(packed, x[first:past], numbers, tile)
        for tree in range(packed.leftmost.size):
            _find_leaves(packed, tile, tree, places[tree])
        _turn(places[:, : past - first], out[first:past])


@kernel
def _scores(packed: PackedForest, x: F32, numbers: F32, tile: U8, places: U8, out: F64) -> None:
    n_trees, lanes = packed.leftmost.size, tile.shape[1]
    for first in range(0, len(x), lanes):
        sums = out[first : first + lanes]
        _fill_tile(packed, x[first : first + lanes], numbers, tile)
        sums[:] = 0.0
        for tree in range(n_trees):
            _find_leaves(packed, tile, tree, places[tree % 4])
            # Four trees between a load and a store of the sums, added in the order of the trees.
            if tree % 4 == 3:
                value = packed.value[tree - 3 : tree + 1]
                if _IN_REGISTERS and value.shape[1] == FEW_LEAVES and sums.size == lanes:
                    add_values_of_few(value, places, sums)
                else:
                    _add_values(value, places, sums)
        for tree in range(n_trees // 4 * 4, n_trees):
            for lane in range(sums.size):
                sums[lane] += packed.value[tree, places[tree % 4, lane]]


@inline
def _add_values(value: F64, places: U8, sums: F64) -> None:
    value_0, value_1, value_2, value_3 = value[0], value[1], value[2], value[3]
    place_0, place_1, place_2, place_3 = places[0], places[1], places[2], places[3]
    for lane in range(sums.size):
        total = sums[lane]
        total += value_0[place_0[lane]]
        total += value_1[place_1[lane]]
        total += value_2[place_2[lane]]
        total += value_3[place_3[lane]]
        sums[lane] = total
