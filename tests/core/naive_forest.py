"""Trees walked from the root as LightGBM does it, with zeros and infinities as its predictor reads them."""

import math

import numpy as np


def leaf(tree, x):
    """The leaf that one member reaches in a tree of nested (feature, threshold, missing, default, left, right).

    A categorical split has a frozenset for a threshold, of the categories that go left.
    """
    while not isinstance(tree, int):
        feature, threshold, missing, default_left, left, right = tree
        value = float(x[feature])
        if isinstance(threshold, frozenset):
            if abs(value) <= float(np.float32(1e-35)):
                value = 0.0
            # Categories are whole parts; NaN, infinite and negative ones are in no set.
            known = math.isfinite(value) and value > -1.0
            tree = left if known and int(value) in threshold else right
            continue
        if math.isnan(value) and missing != "NaN":
            value = 0.0
        if abs(value) <= float(np.float32(1e-35)):
            value = 0.0
        if (missing == "Zero" and value == 0.0) or (missing == "NaN" and math.isnan(value)):
            tree = left if default_left else right
        else:
            tree = left if value <= (math.inf if threshold >= 1e300 else threshold) else right
    return tree


def leaves(trees, x):
    return np.array([[leaf(tree, row) for tree in trees] for row in x], np.uint8).reshape(len(x), len(trees))


def scores(trees, values, x):
    totals = np.zeros(len(x))
    for i, row in enumerate(x):
        for tree, value in zip(trees, values, strict=True):
            totals[i] += value[leaf(tree, row)]
    return totals
