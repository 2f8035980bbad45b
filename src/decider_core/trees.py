"""Trees as arrays: what they must be, and how they are packed for the kernels that find leaves.

Trees of at most 256 leaves, so that a leaf is one byte; numerical and categorical splits.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, F64, I32, I64, U8, U32
from decider_core.contracts import ContractError, check_array
from decider_core.leaf_search import FEW_LEAVES, LEVELS

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
    """Pack trees for :mod:`decider_core.forest`.

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
