"""Leaves and scores of gradient boosted trees, many members at a time, equal to LightGBM's own.

Trees of at most 256 leaves, so that a leaf is one byte; numerical and categorical splits.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from decider_core.compile import F32, F64, I32, I64, INTERPRETED, U8, U32, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.leaf_search import (
    FEW_LANES,
    FEW_LEAVES,
    LANES,
    LEAST_TO_TURN,
    LEVELS,
    add_values_of_few,
    find_leaves,
    find_leaves_of_few,
    find_ranks_15,
    find_ranks_63,
    find_ranks_255,
    turn,
)
from decider_core.vectors import AVX512

MAX_LEAVES: Final = 256
MISSING_NONE: Final = 0
"""No value is missing at the node: NaN counts as 0."""
MISSING_ZERO: Final = 1
"""Zeros and NaN are missing: they take the default direction."""
MISSING_NAN: Final = 2
"""NaN is missing."""

_INFINITY: Final = 1e300
_MOST_BOUNDS: Final = (1 << LEVELS[-1]) - 1
_MOST_RANK: Final = 255
_IN_REGISTERS: Final = AVX512 or INTERPRETED


class ForestArrays(NamedTuple):
    """Trees as plain arrays, one tree after the other; the first node of a tree is its root."""

    node_offsets: I64
    """i64[n_trees + 1]: where the inner nodes of each tree begin."""
    leaf_offsets: I64
    """i64[n_trees + 1]: where the leaves of each tree begin."""
    feature: I32
    """i32[n_nodes]: the feature that is split."""
    threshold: F64
    """f64[n_nodes]: a member goes left if its feature is at most this; 1e300 or more is infinity. Not read at a
    categorical split."""
    left: I32
    """i32[n_nodes]: the inner node below on the left, counted from the tree's first; or -1 - leaf."""
    right: I32
    """i32[n_nodes]: likewise."""
    missing: U8
    """u8[n_nodes]: MISSING_NONE, MISSING_ZERO or MISSING_NAN; not read at a categorical split."""
    default_left: U8
    """u8[n_nodes]: 1 where what is missing goes left, else 0."""
    leaf_value: F64
    """f64[n_leaves]"""
    category_offsets: I64
    """i64[n_nodes + 1]: where the category words of each node begin; a node without any is a numerical split."""
    category_words: U32
    """u32[n_words]: bit c % 32 of a node's word c // 32 is set if category c goes left. A feature's category is
    its whole part; all others, negative ones and NaN go right."""


class PackedForest(NamedTuple):
    """Trees in the order in which the kernel reads them; made by :func:`pack_forest`.

    A row of the tile holds a byte for each member: what it is to one feature's thresholds.
    """

    n_features: int
    search_feature: I64
    """i64[n_searches]: the feature of each of the first rows."""
    search_levels: I64
    """i64[n_searches]: of :data:`decider_core.leaf_search.LEVELS`."""
    search_table: F32
    """f32[n_searches, 256]: sorted thresholds, each the largest float32 that goes left, in the order of a search
    from [1] that goes from [i] to [2 i] or [2 i + 1]."""
    missing_rank: U8
    """u8[n_searches]: the rank of what is missing."""
    zero_missing: U8
    """u8[n_searches]: 1 where zero is missing too, else 0."""
    category_feature: I64
    """i64[n_category_rows]: the feature of each row that follows; its byte is 1 where the member goes right."""
    category_offsets: I64
    """i64[n_category_rows + 1]: where its words begin."""
    category_words: U32
    """u32[n_words]: the categories that go left, as in :class:`ForestArrays`."""
    nodes: I64
    """i64[n_trees + 1]: the first node of each tree."""
    row: I64
    """i64[n_nodes]: the row of the tile, of nodes each before those below it."""
    rank: U8
    """u8[n_nodes]: who has more goes right."""
    here: U8
    """u8[n_nodes]: the leftmost leaf of the node's subtree."""
    to_right: U8
    """u8[n_nodes]: that of its right subtree."""
    leftmost: I64
    """i64[n_trees]: that of the tree."""
    value: F64
    """f64[n_trees, most leaves, 32 at least]: the value of each leaf."""

    @property
    def n_rows(self) -> int:
        """Rows of the tile."""
        return len(self.search_feature) + len(self.category_feature)


def pack_forest(arrays: ForestArrays, n_features: int) -> PackedForest:
    """Pack trees for :func:`forest_leaves` and :func:`forest_scores`.

    Parameters
    ----------
    arrays
        The trees.
    n_features
        Features of a member.

    Raises
    ------
    ContractError
        If a tree has more than 256 leaves, an index points outside, a node is not reached once from its root, or
        a threshold or value is not a number.

    Notes
    -----
    LightGBM compares in float64. Features are float32 here, and one compares with a threshold as it does with
    the largest float32 not above it: so the leaves are LightGBM's for the same float32 features.
    """
    checked = _check_forest(arrays, n_features)
    walks = [_walk(checked, tree) for tree in range(checked.node_offsets.size - 1)]
    order = np.array([node for walk in walks for node, _, _ in walk[1]], np.int64)
    counts = np.diff(checked.leaf_offsets)
    # Few leaves are looked up in registers, where there are such: then each tree's values fill four of them.
    value = np.zeros((len(walks), max(int(counts.max()), FEW_LEAVES)))
    for t, start in enumerate(checked.leaf_offsets[:-1]):
        value[t, : counts[t]] = checked.leaf_value[start : start + counts[t]]
    searches, row, rank = _ask(checked)
    return PackedForest(
        n_features,
        *searches,
        np.cumsum([0, *(len(walk[1]) for walk in walks)]).astype(np.int64),
        row[order],
        rank[order],
        np.array([here for walk in walks for _, here, _ in walk[1]], np.uint8),
        np.array([right for walk in walks for _, _, right in walk[1]], np.uint8),
        np.array([walk[0] for walk in walks], np.int64),
        value,
    )


def forest_leaves(packed: PackedForest, x: F32, out: U8 | None = None) -> U8:
    """Return the model's number of the leaf that every member reaches in every tree, u8[n_members, n_trees].

    Parameters
    ----------
    packed
        From :func:`pack_forest`.
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


def _check_forest(arrays: ForestArrays, n_features: int) -> ForestArrays:
    n_nodes, n_leaves = np.size(arrays.feature), np.size(arrays.leaf_value)
    if n_features < 1:
        raise ContractError(f"n_features must be at least 1, got {n_features}")
    kinds = (
        np.int64,
        np.int64,
        np.int32,
        np.float64,
        np.int32,
        np.int32,
        np.uint8,
        np.uint8,
        np.float64,
        np.int64,
        np.uint32,
    )
    n_trees = np.size(arrays.node_offsets) - 1
    lengths = (n_trees + 1, n_trees + 1, *(n_nodes,) * 6, n_leaves, n_nodes + 1, None)
    names = ForestArrays._fields
    checked = ForestArrays(
        *(
            check_array(name, array, kind, (length,))
            for name, array, kind, length in zip(names, arrays, kinds, lengths, strict=True)
        )
    )
    for name, offsets, n in (
        ("node_offsets", checked.node_offsets, n_nodes),
        ("leaf_offsets", checked.leaf_offsets, n_leaves),
        ("category_offsets", checked.category_offsets, checked.category_words.size),
    ):
        if n_trees < 1 or offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) < 0).any():
            raise ContractError(f"{name} must rise from 0 to {n} over at least one tree, got {offsets}")
    counts = np.diff(checked.leaf_offsets)
    for tree in np.flatnonzero((counts < 1) | (counts > MAX_LEAVES)):
        raise ContractError(f"a tree must have 1 to {MAX_LEAVES} leaves, got {counts[tree]} in tree {tree}")
    for tree in np.flatnonzero(np.diff(checked.node_offsets) != counts - 1):
        raise ContractError(
            f"a tree must have one node less than leaves, got {np.diff(checked.node_offsets)[tree]} "
            f"and {counts[tree]} in tree {tree}"
        )
    for name, wrong in (
        ("feature", (checked.feature < 0) | (checked.feature >= n_features)),
        ("threshold", np.isnan(checked.threshold)),
        ("missing", checked.missing > MISSING_NAN),
        ("default_left", checked.default_left > 1),
        ("leaf_value", ~np.isfinite(checked.leaf_value)),
    ):
        for place in np.flatnonzero(wrong):
            found = getattr(checked, name)[place]
            raise ContractError(f"{name} must be in range and a number, got {found} at [{place}]")
    return checked


def _walk(arrays: ForestArrays, tree: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Return a tree's leftmost leaf, and each node before those below it, with its two leftmost leaves."""
    start, n_nodes = int(arrays.node_offsets[tree]), int(np.diff(arrays.node_offsets)[tree])
    nodes: list[tuple[int, int, int]] = []
    seen: set[int] = set()
    rule = "left and right must reach every node and leaf of a tree once"

    def visit(child: int) -> int:
        if child in seen or not -n_nodes - 1 <= child < n_nodes:
            raise ContractError(f"{rule}, got {child} in tree {tree}")
        seen.add(child)
        if child < 0:
            return -1 - child
        place = len(nodes)
        nodes.append((0, 0, 0))
        here = visit(int(arrays.left[start + child]))
        nodes[place] = (start + child, here, visit(int(arrays.right[start + child])))
        return here

    leftmost = visit(0 if n_nodes else -1)
    n_reached = len(seen) - len(nodes)
    if n_reached != n_nodes + 1:
        raise ContractError(f"{rule}, got {n_reached} of {n_nodes + 1} leaves in tree {tree}")
    return leftmost, nodes


class _Searches(NamedTuple):
    """The part of :class:`PackedForest` that makes the tile, in its order."""

    search_feature: I64
    search_levels: I64
    search_table: F32
    missing_rank: U8
    zero_missing: U8
    category_feature: I64
    category_offsets: I64
    category_words: U32


def _ask(arrays: ForestArrays) -> tuple[_Searches, I64, U8]:
    """Return the rows of the tile, the row of each node, and the rank above which a member goes right there."""
    n_nodes = arrays.feature.size
    row, rank = np.empty(n_nodes, np.int64), np.zeros(n_nodes, np.uint8)
    categorical = np.diff(arrays.category_offsets) > 0
    bounds = _bounds(arrays.threshold)
    features, levels, tables = [], [], []
    missing: list[tuple[int, bool]] = []
    for feature in np.unique(arrays.feature[~categorical]):
        of_feature = np.flatnonzero(~categorical & (arrays.feature == feature))
        distinct = np.unique(bounds[of_feature])
        for first in range(0, distinct.size, _MOST_BOUNDS):
            part = distinct[first : first + _MOST_BOUNDS]
            nodes = of_feature[np.isin(bounds[of_feature], part)]
            rank[nodes] = np.searchsorted(part, bounds[nodes])
            rank_of_zero = int((part < 0.0).sum())
            kinds = [_missing(arrays, int(node), rank_of_zero) for node in nodes]
            own = sorted(set(kinds))
            row[nodes] = [len(missing) + own.index(kind) for kind in kinds]
            missing += own
            depth = next(depth for depth in LEVELS if part.size < 1 << depth)
            features += [int(feature)] * len(own)
            levels += [depth] * len(own)
            tables += [_table(part, depth)] * len(own)
    sets: dict[tuple[int, bytes], int] = {}
    for node in np.flatnonzero(categorical):
        words = arrays.category_words[arrays.category_offsets[node] : arrays.category_offsets[node + 1]]
        place = sets.setdefault((int(arrays.feature[node]), words.tobytes()), len(sets))
        row[node] = len(missing) + place
    words_of = [np.frombuffer(words, np.uint32) for _, words in sets]
    searches = _Searches(
        np.array(features, np.int64),
        np.array(levels, np.int64),
        np.array(tables, np.float32).reshape(-1, _MOST_BOUNDS + 1),
        np.array([fill for fill, _ in missing], np.uint8),
        np.array([zeros for _, zeros in missing], np.uint8),
        np.array([feature for feature, _ in sets], np.int64),
        np.cumsum([0, *map(len, words_of)]).astype(np.int64),
        np.concatenate([np.empty(0, np.uint32), *words_of]),
    )
    return searches, row, rank


def _missing(arrays: ForestArrays, node: int, rank_of_zero: int) -> tuple[int, bool]:
    """Return the rank of what is missing at a node, and whether zero is."""
    if arrays.missing[node] == MISSING_NONE:
        return rank_of_zero, False
    return 0 if arrays.default_left[node] else _MOST_RANK, bool(arrays.missing[node] == MISSING_ZERO)


def _bounds(threshold: F64) -> F32:
    """Return the largest float32 not above each threshold; LightGBM writes infinity as 1e300."""
    with np.errstate(over="ignore"):
        bound = threshold.astype(np.float32)
    above = bound.astype(np.float64) > threshold
    bound[above] = np.nextafter(bound[above], np.float32(-np.inf))
    bound[threshold >= _INFINITY] = np.inf
    return bound


def _table(bounds: F32, levels: int) -> F32:
    """Lay sorted thresholds out for a search; nobody exceeds infinity, so it stands where there is none."""
    padded = np.full((1 << levels) - 1, np.inf, np.float32)
    padded[: bounds.size] = bounds
    table = np.full(_MOST_BOUNDS + 1, np.inf, np.float32)
    for level in range(levels):
        step = 1 << (levels - level)
        table[1 << level : 2 << level] = padded[step // 2 - 1 :: step]
    return table


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
