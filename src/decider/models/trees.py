"""LightGBM's trees as the arrays of our kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from decider.errors import InvalidInput
from decider_core.compile import F64
from decider_core.trees import MISSING_NAN, MISSING_NONE, MISSING_ZERO, ForestArrays

_MISSING: Final = {"None": MISSING_NONE, "Zero": MISSING_ZERO, "NaN": MISSING_NAN}


def trees_of_dump(dump: Mapping[str, Any]) -> ForestArrays:
    """Read trees from what ``lightgbm.Booster.dump_model()`` gives.

    Parameters
    ----------
    dump
        The dump: numerical and categorical splits with constant leaves.

    Raises
    ------
    InvalidInput
        If a split is of another kind, or the leaves hold linear models.
    """
    nodes: list[tuple[int, float, int, int, int, int]] = []
    node_offsets, values, leaf_offsets = [0], [], [0]
    category_offsets: list[int] = [0]
    words: list[int] = []
    for tree in dump["tree_info"]:
        of_tree: list[tuple[tuple[int, float, int, int, int, int], list[int]]] = []
        value: dict[int, float] = {}
        _visit(tree["tree_structure"], of_tree, value)
        for node, own in of_tree:
            nodes.append(node)
            words += own
            category_offsets.append(len(words))
        node_offsets.append(len(nodes))
        values += [value[leaf] for leaf in range(len(value))]
        leaf_offsets.append(len(values))
    columns: list[F64] = list(np.array(nodes, np.float64).reshape(-1, 6).T)
    feature, threshold, left, right, missing, default_left = columns
    return ForestArrays(
        np.array(node_offsets, np.int64),
        np.array(leaf_offsets, np.int64),
        feature.astype(np.int32),
        threshold.copy(),
        left.astype(np.int32),
        right.astype(np.int32),
        missing.astype(np.uint8),
        default_left.astype(np.uint8),
        np.array(values, np.float64),
        np.array(category_offsets, np.int64),
        np.array(words, np.uint32),
    )


def _visit(
    found: Mapping[str, Any],
    nodes: list[tuple[tuple[int, float, int, int, int, int], list[int]]],
    value: dict[int, float],
) -> int:
    """Collect a subtree, its root first, and return the root's place, or -1 - leaf."""
    if "split_index" not in found:
        if "leaf_coeff" in found:
            raise InvalidInput.of("trees", "must have constant leaves", "linear_tree")
        leaf = int(found.get("leaf_index", 0))
        value[leaf] = float(found["leaf_value"])
        return -1 - leaf
    kind, words, threshold = found["decision_type"], [], 0.0
    if kind == "<=":
        threshold = float(found["threshold"])
    elif kind == "==":
        words = _words([int(category) for category in found["threshold"].split("||")])
    else:
        raise InvalidInput.of("trees", "must split by '<=' or by categories, '=='", kind)
    place = len(nodes)
    nodes.append(((0, 0.0, 0, 0, 0, 0), words))
    left = _visit(found["left_child"], nodes, value)
    right = _visit(found["right_child"], nodes, value)
    missing, default_left = _MISSING[found["missing_type"]], int(found["default_left"])
    nodes[place] = ((int(found["split_feature"]), threshold, left, right, missing, default_left), words)
    return place


def _words(categories: list[int]) -> list[int]:
    """A set of categories as bits of 32-bit words."""
    words = [0] * (max(categories) // 32 + 1)
    for category in categories:
        words[category // 32] |= 1 << category % 32
    return words
