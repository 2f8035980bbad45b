"""Leaves and scores of gradient boosted trees, many members at a time, equal to LightGBM's own.

Trees of at most 32 leaves, so that a set of leaves is one word; numerical splits only.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from decider_core.compile import F32, F64, I32, I64, U8, U32, inline, kernel
from decider_core.contracts import ContractError, check_array, check_output
from decider_core.leaf_masks import LANES, find_leaves

MAX_LEAVES: Final = 32
MISSING_NONE: Final = 0
"""No value is missing at the node: NaN counts as 0."""
MISSING_ZERO: Final = 1
"""Zeros and NaN are missing: they take the default direction."""
MISSING_NAN: Final = 2
"""NaN is missing."""

_ZERO: Final = np.float32(1e-35)
_ALL: Final = np.uint32(0xFFFFFFFF)
_INFINITY: Final = 1e300


class ForestArrays(NamedTuple):
    """Trees as plain arrays, one tree after the other; the first node of a tree is its root."""

    node_offsets: I64
    """i64[n_trees + 1]: where the inner nodes of each tree begin."""
    leaf_offsets: I64
    """i64[n_trees + 1]: where the leaves of each tree begin."""
    feature: I32
    """i32[n_nodes]: the feature that is split."""
    threshold: F64
    """f64[n_nodes]: a member goes left if its feature is at most this; 1e300 or more is infinity."""
    left: I32
    """i32[n_nodes]: the inner node below on the left, counted from the tree's first; or -1 - leaf."""
    right: I32
    """i32[n_nodes]: likewise."""
    missing: U8
    """u8[n_nodes]: MISSING_NONE, MISSING_ZERO or MISSING_NAN."""
    default_left: U8
    """u8[n_nodes]: 1 where what is missing goes left, else 0."""
    leaf_value: F64
    """f64[n_leaves]"""


class PackedForest(NamedTuple):
    """Trees in the order in which the kernel reads them; made by :func:`pack_forest`."""

    n_features: int
    zeros_missing: bool
    """Whether the tile holds every feature twice, the second time with zeros made NaN."""
    bounds: I64
    """i64[n_trees, 3]: first node, first of those at which NaN goes right, and past the last."""
    row: I64
    """i64[n_nodes]: the row of the tile."""
    threshold: F32
    """f32[n_nodes]: the largest float32 that goes left."""
    mask: U32
    """u32[n_nodes]: the leaves, counted from the left, that remain for who goes right."""
    leaf: U8
    """u8[n_trees, 32]: the model's number of each leaf, counted from the left."""
    value: F64
    """f64[n_trees, 32]: its value."""


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
        If a tree has more than 32 leaves, an index points outside, a node is not reached once from its root, or
        a threshold or value is not a number.
    """
    checked = _check_forest(arrays, n_features)
    zeros_missing = bool((checked.missing == MISSING_ZERO).any())
    n_trees = checked.node_offsets.size - 1
    parts: list[tuple[int, np.float32, int]] = []
    bounds = np.empty((n_trees, 3), np.int64)
    leaf = np.zeros((n_trees, MAX_LEAVES), np.uint8)
    value = np.zeros((n_trees, MAX_LEAVES))
    for t in range(n_trees):
        leaves, nodes = _walk(checked, t)
        leaf[t, : len(leaves)] = leaves
        value[t, : len(leaves)] = checked.leaf_value[checked.leaf_offsets[t] + np.array(leaves)]
        bounds[t, 0] = len(parts)
        for to_right in (False, True):
            bounds[t, 1 + to_right] = len(parts)
            here = [_packed(checked, node, kept, n_features) for node, kept in nodes]
            chosen = [entry for right, entry in here if right == to_right]
            # find_leaves wants a node of each kind: one that nobody turns right at, or at which it changes nothing.
            parts += chosen or [(0, np.float32(np.inf), int(_ALL))]
            bounds[t, 1 + to_right] = len(parts)
    return PackedForest(
        n_features,
        zeros_missing,
        bounds,
        np.array([part[0] for part in parts], np.int64),
        np.array([part[1] for part in parts], np.float32),
        np.array([part[2] for part in parts], np.uint32),
        leaf,
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
    out = check_output("out", out, np.uint8, (len(x), len(packed.bounds)))
    _leaves(packed, x, *_scratch(packed), out)
    return out


def forest_scores(packed: PackedForest, x: F32, out: F64 | None = None) -> F64:
    """Return the sum of the leaf values of every member, tree after tree in float64, f64[n_members].

    Parameters are those of :func:`forest_leaves`; out is f64[n_members].
    """
    x = check_array("x", x, np.float32, (None, packed.n_features))
    out = check_output("out", out, np.float64, (len(x),))
    _scores(packed, x, *_scratch(packed), np.empty(LANES), out)
    return out


def _scratch(packed: PackedForest) -> tuple[F32, U8]:
    """Return the tile of features, and the places of the leaves in each tree."""
    n_rows = packed.n_features * (1 + packed.zeros_missing)
    return np.zeros((n_rows, LANES), np.float32), np.empty((max(4, len(packed.bounds)), LANES), np.uint8)


def _check_forest(arrays: ForestArrays, n_features: int) -> ForestArrays:
    n_nodes, n_leaves = np.size(arrays.feature), np.size(arrays.leaf_value)
    if n_features < 1:
        raise ContractError(f"n_features must be at least 1, got {n_features}")
    kinds = (np.int64, np.int64, np.int32, np.float64, np.int32, np.int32, np.uint8, np.uint8, np.float64)
    n_trees = np.size(arrays.node_offsets) - 1
    lengths = (n_trees + 1, n_trees + 1, *(n_nodes,) * 6, n_leaves)
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


def _walk(arrays: ForestArrays, tree: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Return a tree's leaves from left to right, and each node with the mask of what its left leaves clear."""
    start, n_nodes = int(arrays.node_offsets[tree]), int(np.diff(arrays.node_offsets)[tree])
    leaves: list[int] = []
    nodes: list[tuple[int, int]] = []
    seen: set[int] = set()

    rule = "left and right must reach every node and leaf of a tree once"

    def visit(child: int) -> None:
        if child in seen or not -n_nodes - 1 <= child < n_nodes:
            raise ContractError(f"{rule}, got {child} in tree {tree}")
        seen.add(child)
        if child < 0:
            leaves.append(-1 - child)
            return
        n_before = len(leaves)
        visit(int(arrays.left[start + child]))
        cleared = (1 << len(leaves)) - (1 << n_before)
        nodes.append((start + child, int(_ALL) & ~cleared))
        visit(int(arrays.right[start + child]))

    visit(0 if n_nodes else -1)
    if len(leaves) != n_nodes + 1:
        raise ContractError(f"{rule}, got {len(leaves)} of {n_nodes + 1} leaves in tree {tree}")
    return leaves, nodes


def _packed(
    arrays: ForestArrays, node: int, kept: int, n_features: int
) -> tuple[bool, tuple[int, np.float32, int]]:
    """Return whether NaN goes right at a node, and the node."""
    missing, threshold = arrays.missing[node], float(arrays.threshold[node])
    row = int(arrays.feature[node])
    nan_goes_right = not arrays.default_left[node]
    if missing == MISSING_NONE:
        nan_goes_right = threshold < 0.0
    elif missing == MISSING_ZERO:
        row += n_features
    # The largest float32 not above the threshold: then float32 numbers compare with it as they do, widened to
    # float64, with the threshold. LightGBM writes infinity as 1e300.
    bound = np.float32(np.inf)
    if threshold < _INFINITY:
        with np.errstate(over="ignore"):
            bound = np.float32(threshold)
        if float(bound) > threshold:
            bound = np.nextafter(bound, np.float32(-np.inf))
    return nan_goes_right, (row, bound, kept)


@inline
def _fill_tile(x: F32, zeros_missing: bool, tile: F32) -> None:
    n_features = x.shape[1]
    for lane in range(x.shape[0]):
        for i in range(n_features):
            # As LightGBM reads it: what lies so near zero is zero.
            tile[i, lane] = np.float32(0.0) if abs(x[lane, i]) <= _ZERO else x[lane, i]
    if zeros_missing:
        for i in range(n_features):
            for lane in range(x.shape[0]):
                number = tile[i, lane]
                tile[n_features + i, lane] = np.float32(np.nan) if number == np.float32(0.0) else number


@kernel
def _find_places(packed: PackedForest, x: F32, tile: F32, places: U8) -> None:
    # In the last tile the lanes beyond the last member keep what was there: nobody reads their places.
    _fill_tile(x, packed.zeros_missing, tile)
    for t in range(len(packed.bounds)):
        start, middle, end = packed.bounds[t, 0], packed.bounds[t, 1], packed.bounds[t, 2]
        find_leaves(tile, packed.row, packed.threshold, packed.mask, places[t], start, middle, end)


@kernel
def _leaves(packed: PackedForest, x: F32, tile: F32, places: U8, out: U8) -> None:
    for first in range(0, len(x), LANES):
        past = min(first + LANES, len(x))
        _find_places(packed, x[first:past], tile, places)
        for lane in range(past - first):
            _copy_leaves(packed.leaf, places[:, lane], out[first + lane])


@inline
def _copy_leaves(leaf: U8, places: U8, out: U8) -> None:
    for t in range(out.size):
        out[t] = leaf[t, places[t]]


@kernel
def _scores(packed: PackedForest, x: F32, tile: F32, places: U8, sums: F64, out: F64) -> None:
    n_trees = len(packed.bounds)
    for first in range(0, len(x), LANES):
        past = min(first + LANES, len(x))
        _fill_tile(x[first:past], packed.zeros_missing, tile)
        sums[:] = 0.0
        for t in range(n_trees):
            start, middle, end = packed.bounds[t, 0], packed.bounds[t, 1], packed.bounds[t, 2]
            find_leaves(tile, packed.row, packed.threshold, packed.mask, places[t % 4], start, middle, end)
            # Four trees between a load and a store of the sums, added in the order of the trees.
            if t % 4 == 3:
                _add_values(packed.value[t - 3 : t + 1], places, sums)
        for t in range(n_trees // 4 * 4, n_trees):
            for lane in range(LANES):
                sums[lane] += packed.value[t, places[t % 4, lane]]
        for lane in range(past - first):
            out[first + lane] = sums[lane]


@inline
def _add_values(value: F64, places: U8, sums: F64) -> None:
    value_0, value_1, value_2, value_3 = value[0], value[1], value[2], value[3]
    place_0, place_1, place_2, place_3 = places[0], places[1], places[2], places[3]
    for lane in range(LANES):
        total = sums[lane]
        total += value_0[place_0[lane]]
        total += value_1[place_1[lane]]
        total += value_2[place_2[lane]]
        total += value_3[place_3[lane]]
        sums[lane] = total
