import lightgbm
import naive_forest as naive
import numpy as np
import pytest
from boosted_trees import arrays_of_trees, random_trees, trees_of_dump

from decider_core.compile import INTERPRETED
from decider_core.contracts import ContractError
from decider_core.forest import forest_leaves, forest_scores
from decider_core.trees import pack_forest

N_FEATURES = 5
SPECIAL = np.array(
    [np.nan, 0.0, -0.0, 1e-36, -1e-36, 2e-35, -1.5, -0.5, 0.1, 0.5, 1.0, np.inf, -np.inf], np.float32
)


def members(rng, n):
    """Features of which half are exactly thresholds, zeros, NaN or infinite."""
    x = rng.normal(size=(n, N_FEATURES)).astype(np.float32)
    return np.where(rng.random(x.shape) < 0.5, rng.choice(SPECIAL, x.shape), x)


@pytest.mark.parametrize("seed", range(3 if INTERPRETED else 12))
@pytest.mark.parametrize("n", [1, 64, 65, 511, 512, 530] if not INTERPRETED else [50])
def test_equals_twin(seed, n):
    rng = np.random.default_rng(seed)
    trees, values = random_trees(rng, 21, 40, N_FEATURES)
    packed, x = pack_forest(arrays_of_trees(trees, values), N_FEATURES), members(rng, n)
    np.testing.assert_array_equal(forest_leaves(packed, x), naive.leaves(trees, x))
    np.testing.assert_array_equal(forest_scores(packed, x), naive.scores(trees, values, x))


@pytest.mark.parametrize(
    "options",
    [
        {"use_missing": True},
        {"use_missing": False},
        {"zero_as_missing": True},
        {"num_leaves": 32, "objective": "binary"},
        {"num_leaves": 2},
        {"num_leaves": 256, "min_data_in_leaf": 1},
        {"max_bin": 1023, "num_leaves": 200},
    ],
    ids=str,
)
def test_equals_lightgbm(options):
    """On data with NaN, zeros and values that are exactly thresholds."""
    rng = np.random.default_rng(7)
    x = np.round(rng.normal(size=(4000, N_FEATURES)), 1).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nansum(x[:, :2], axis=1) + x[:, 2] ** 2 * 0.3 + rng.normal(size=len(x))
    y = np.where(np.isnan(y), 0.0, y)
    settings = {
        "objective": "regression",
        "num_leaves": 31,
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 5,
    }
    if options.get("objective") == "binary":
        y = (y > 0).astype(float)
    booster = lightgbm.train(settings | options, lightgbm.Dataset(x, y), 30)
    trees, values = trees_of_dump(booster.dump_model())
    packed = pack_forest(arrays_of_trees(trees, values), N_FEATURES)
    table = packed.search_table
    thresholds = np.concatenate([table[np.isfinite(table)], SPECIAL])
    test = rng.choice(thresholds, (200 if INTERPRETED else 5000, N_FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(forest_leaves(packed, test), booster.predict(test, pred_leaf=True))
    np.testing.assert_array_equal(forest_scores(packed, test), booster.predict(test, raw_score=True))


@pytest.mark.parametrize("zero_as_missing", [False, True])
def test_equals_lightgbm_at_categorical_splits(zero_as_missing):
    """On categories of the training and others, fractions, negative ones, NaN and infinity."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(4000, N_FEATURES)).astype(np.float32)
    x[:, 1] = rng.integers(0, 90, len(x))
    x[:, 3] = rng.integers(0, 5, len(x))
    x[rng.random(x.shape) < 0.05] = np.nan
    y = np.sin(np.nan_to_num(x[:, 1]) * 37.0) + (x[:, 3] == 2) + np.nan_to_num(x[:, 0])
    settings = {
        "objective": "regression", "num_leaves": 31, "verbosity": -1, "num_threads": 1, "min_data_per_group": 5,
        "cat_smooth": 1.0, "max_cat_to_onehot": 1, "zero_as_missing": zero_as_missing,
    }  # fmt: skip
    booster = lightgbm.train(settings, lightgbm.Dataset(x, y, categorical_feature=[1, 3]), 30)
    packed = pack_forest(arrays_of_trees(*trees_of_dump(booster.dump_model())), N_FEATURES)
    assert len(packed.category_feature) > 20
    test = rng.normal(size=(200 if INTERPRETED else 5000, N_FEATURES)).astype(np.float32)
    for column in (1, 3):
        test[:, column] = rng.choice(np.append(np.arange(-2.0, 130.0, 0.5), SPECIAL), len(test))
    np.testing.assert_array_equal(forest_leaves(packed, test), booster.predict(test, pred_leaf=True))
    np.testing.assert_array_equal(forest_scores(packed, test), booster.predict(test, raw_score=True))


def test_more_thresholds_of_a_feature_than_a_byte_counts():
    """1,100 thresholds of one feature, each the question of one tree."""
    rng = np.random.default_rng(12)
    thresholds = np.sort(rng.normal(size=1100).astype(np.float32)).astype(float)
    trees = [(0, float(bound), "NaN", bool(i % 2), 0, 1) for i, bound in enumerate(thresholds)]
    packed = pack_forest(arrays_of_trees(trees, [np.array([0.0, 1.0])] * len(trees)), 1)
    assert len(packed.search_feature) == 10
    x = np.append(rng.choice(thresholds, 40), [np.nan, np.inf, -np.inf, 0.0]).astype(np.float32)[:, None]
    np.testing.assert_array_equal(forest_leaves(packed, x), naive.leaves(trees, x))


def test_same_bits_in_any_batch():
    rng = np.random.default_rng(3)
    trees, values = random_trees(rng, 20, 256, N_FEATURES)
    packed, x = pack_forest(arrays_of_trees(trees, values), N_FEATURES), members(rng, 1200)
    leaves, scores = forest_leaves(packed, x), forest_scores(packed, x)
    order = rng.permutation(1200)
    for part in np.split(order, [1, 8, 70, 140]):
        np.testing.assert_array_equal(forest_leaves(packed, x[part]), leaves[part])
        np.testing.assert_array_equal(forest_scores(packed, x[part]), scores[part])


def test_writes_into_out_and_takes_nobody():
    rng = np.random.default_rng(4)
    packed = pack_forest(arrays_of_trees(*random_trees(rng, 3, 8, N_FEATURES)), N_FEATURES)
    x = members(rng, 10)
    leaves, scores = np.empty((10, 3), np.uint8), np.empty(10)
    assert forest_leaves(packed, x, leaves) is leaves
    assert forest_scores(packed, x, scores) is scores
    assert forest_leaves(packed, x[:0]).shape == (0, 3)
    assert forest_scores(packed, x[:0]).shape == (0,)


def chain(n_leaves):
    tree = n_leaves - 1
    for leaf in reversed(range(n_leaves - 1)):
        tree = (0, float(leaf), "NaN", True, leaf, tree)
    return tree


def change(name, place, value):
    def changed(arrays):
        array = getattr(arrays, name).copy()
        array[place] = value
        return arrays._replace(**{name: array})

    return changed


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (change("feature", 2, 5), r"feature must be in range and a number, got 5 at \[2\]"),
        (change("threshold", 1, np.nan), r"threshold must be in range and a number, got nan at \[1\]"),
        (change("missing", 0, 3), r"missing must be in range"),
        (change("default_left", 0, 2), r"default_left must be in range"),
        (change("leaf_value", 3, np.inf), r"leaf_value must be in range and a number, got inf at \[3\]"),
        (change("left", 1, 9), "must reach every node and leaf of a tree once, got 9 in tree 0"),
        (change("right", 1, 0), "must reach every node and leaf of a tree once, got 0 in tree 0"),
        (
            change("right", 0, -2),
            "must reach every node and leaf of a tree once, got 2 of 5 leaves in tree 0",
        ),
        (change("leaf_offsets", 1, 4), "leaf_offsets must rise from 0 to 5"),
        (lambda a: a._replace(left=a.left.astype(np.int64)), "left must have dtype int32, got int64"),
        (lambda a: a._replace(missing=a.missing[:2]), "missing must have shape"),
    ],
)
def test_refuses(changed, text):
    with pytest.raises(ContractError, match=text):
        pack_forest(changed(arrays_of_trees([chain(5)], [np.zeros(5)])), N_FEATURES)


def test_refuses_more_leaves_than_a_byte_counts():
    pack_forest(arrays_of_trees([chain(256)], [np.zeros(256)]), 1)
    with pytest.raises(ContractError, match="a tree must have 1 to 256 leaves, got 257 in tree 1"):
        pack_forest(arrays_of_trees([0, chain(257)], [np.zeros(1), np.zeros(257)]), 1)
