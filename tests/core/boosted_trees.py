"""Forests for tests: from LightGBM's dump, and made at random."""

import numpy as np

from decider_core.trees import ForestArrays

MISSING = {"None": 0, "Zero": 1, "NaN": 2}


def arrays_of_trees(trees, values):
    """ForestArrays of nested tuples, see naive_forest; the nodes are numbered from the root down."""
    fields = {name: [] for name in ForestArrays._fields}
    fields["node_offsets"], fields["leaf_offsets"], fields["category_offsets"] = [0], [0], [0]
    for tree, value in zip(trees, values, strict=True):
        nodes = []

        def visit(node, nodes=nodes):
            if isinstance(node, int):
                return -1 - node
            at = len(nodes)
            nodes.append(None)
            feature, threshold, missing, default_left, left, right = node
            children = visit(left), visit(right)
            nodes[at] = (feature, threshold, *children, MISSING[missing], int(default_left))
            return at

        visit(tree)
        for node in nodes:
            if not isinstance(node[1], float):
                fields["category_words"] += words_of(node[1])
                node = (node[0], 0.0, *node[2:])
            fields["category_offsets"].append(len(fields["category_words"]))
            for name, entry in zip(ForestArrays._fields[2:8], node, strict=True):
                fields[name].append(entry)
        fields["leaf_value"] += list(value)
        fields["node_offsets"].append(len(fields["feature"]))
        fields["leaf_offsets"].append(len(fields["leaf_value"]))
    kinds = (np.int64, np.int64, np.int32, np.float64, np.int32, np.int32, np.uint8, np.uint8, np.float64)
    kinds += (np.int64, np.uint32)
    return ForestArrays(
        *(np.array(fields[name], kind) for name, kind in zip(ForestArrays._fields, kinds, strict=True))
    )


def words_of(categories):
    """A set of categories as bits of 32-bit words."""
    words = [0] * (max(categories) // 32 + 1)
    for category in categories:
        words[category // 32] |= 1 << category % 32
    return words


def trees_of_dump(dump):
    """The trees of booster.dump_model() as nested tuples, and their leaves' values."""
    trees, values = [], []
    for info in dump["tree_info"]:
        value = {}

        def visit(node, value=value):
            if "split_index" not in node:
                place = node.get("leaf_index", 0)
                value[place] = node["leaf_value"]
                return place
            children = visit(node["left_child"]), visit(node["right_child"])
            default, threshold = node["default_left"], node["threshold"]
            if node["decision_type"] == "==":
                threshold = frozenset(map(int, threshold.split("||")))
            return (node["split_feature"], threshold, node["missing_type"], default, *children)

        trees.append(visit(info["tree_structure"]))
        values.append([value[place] for place in range(len(value))])
    return trees, values


def random_trees(rng, n_trees, max_leaves, n_features):
    """Trees of every shape, splits at coarse thresholds, all kinds of missing; leaves in any order."""

    def grow(leaves):
        if len(leaves) == 1:
            return int(leaves[0])
        cut = int(rng.integers(1, len(leaves)))
        threshold = float(rng.choice([-1.5, -0.5, -1e-36, 0.0, 1e-36, 0.1, 0.5, 1.0, 1e300, -1e300]))
        if rng.random() < 0.2:
            threshold = frozenset(rng.choice(70, int(rng.integers(1, 30))).tolist())
        missing, default = str(rng.choice(list(MISSING))), bool(rng.integers(2))
        feature = int(rng.integers(n_features))
        return feature, threshold, missing, default, grow(leaves[:cut]), grow(leaves[cut:])

    counts = rng.integers(1, max_leaves + 1, n_trees)
    return [grow(rng.permutation(n)) for n in counts], [rng.normal(size=n) for n in counts]
