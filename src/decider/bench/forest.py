"""Leaves and scores of 200 trees of 31 leaves, against LightGBM's predict at equal threads.

First the leaves are compared, row by row and tree by tree, for forests with every kind of split, on features that
are half the forest's own thresholds, zeros, NaN and infinities: one that differs is a goal that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

from decider.bench.case import Case, Effort, Row, row_of
from decider.bench.comparison import Baseline, Comparison
from decider.bench.threads import together
from decider.models.trees import trees_of_dump
from decider_core.forest import forest_leaves, forest_scores
from decider_core.trees import PackedForest, pack_forest

N_FEATURES: Final = 32
N_TREES: Final = 200
N_LEAVES: Final = 31
GOAL: Final = 20.0
FORESTS: Final[dict[str, dict[str, Any]]] = {
    "nan": {},
    "zeros": {"zero_as_missing": True},
    "categories": {"max_cat_to_onehot": 1, "min_data_per_group": 20},
}
"""By what is missing or how features split, the options of LightGBM that differ from its defaults."""
CATEGORICAL: Final = (3, 17)
"""The features of `categories` that are."""
_TRAINING_ROWS: Final = 50_000
_ODD: Final = (np.nan, 0.0, -0.0, 1e-36, -1e-36, -1.0, 0.5, 1e30, -1e30, np.inf, -np.inf)


def measure(effort: Effort) -> Iterator[Row]:
    """Whether leaves are the same, then both rates on one thread and on two."""
    n = 20_000 if effort.short else 1_000_000
    for kind in FORESTS:
        effort.report(f"forest same leaves, {kind}", 0, None)
        yield same_leaves(kind, n)
    booster, packed = boosted("nan")
    x = np.random.default_rng(1).standard_normal((n // 10, N_FEATURES)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.05] = np.nan
    for threads in (1,) if effort.short else (1, 2):
        for what in ("leaves", "scores"):
            yield from rates(what, booster, packed, x, threads).rows(effort, 7)


def boosted(kind: str, n_trees: int = N_TREES) -> tuple[lightgbm.Booster, PackedForest]:
    """Grow one of FORESTS, and pack it."""
    g = np.random.default_rng(0)
    x = g.standard_normal((_TRAINING_ROWS, N_FEATURES)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + g.standard_normal(len(x))
    for feature in CATEGORICAL if kind == "categories" else ():
        x[:, feature] = g.integers(0, 100, len(x))
        y += np.sin(37.0 * x[:, feature])
    x[g.random(x.shape) < 0.02] = np.nan
    x[g.random(x.shape) < 0.02] = 0.0
    options = {"objective": "regression", "num_leaves": N_LEAVES, "verbosity": -1, "seed": 0} | FORESTS[kind]
    data = lightgbm.Dataset(x, y, categorical_feature=list(CATEGORICAL) if kind == "categories" else "auto")
    booster = lightgbm.train(options, data, n_trees)
    return booster, pack_forest(trees_of_dump(booster.dump_model()), N_FEATURES)


def same_leaves(kind: str, n: int, n_trees: int = N_TREES) -> Row:
    """How many of n rows reach LightGBM's leaf in every tree and have its score, bit for bit."""
    booster, packed = boosted(kind, n_trees)
    n_same = 0
    for first in range(0, n, 100_000):
        x = odd_members(packed, min(100_000, n - first), first)
        leaves: NDArray[Any] = np.asarray(booster.predict(x, pred_leaf=True, num_threads=2))
        scores: NDArray[Any] = np.asarray(booster.predict(x, raw_score=True, num_threads=2))
        same = (forest_leaves(packed, x) == leaves).all(axis=1)
        n_same += int((same & (forest_scores(packed, x).view(np.int64) == scores.view(np.int64))).sum())
    shape = f"same-{kind}-m{n}-n{n_trees}-l{N_LEAVES}"
    return row_of("forest", shape, n_same, "rows", "LightGBM's leaves and scores", n, 1.0)


def odd_members(packed: PackedForest, n: int, seed: int) -> NDArray[np.float32]:
    """Features of which half are the forest's thresholds, zeros, NaN or infinite; categories known and not."""
    g = np.random.default_rng([seed, 3])
    bounds = packed.search_table[np.isfinite(packed.search_table)]
    x = g.standard_normal((n, N_FEATURES)).astype(np.float32)
    for feature in np.unique(packed.category_feature):
        x[:, feature] = g.integers(-5, 150, n) + g.choice([0.0, 0.5], n)
    for share, values in ((0.3, bounds), (0.2, np.array(_ODD, np.float32))):
        x = np.where(g.random(x.shape) < share, g.choice(values, x.shape), x)
    return x


def rates(
    what: str, booster: lightgbm.Booster, packed: PackedForest, x: NDArray[np.float32], threads: int
) -> Comparison:
    """Leaves or scores of all rows on some threads, beside LightGBM's own."""
    options: dict[str, Any] = {"pred_leaf": True} if what == "leaves" else {"raw_score": True}
    parts = np.array_split(x, threads)

    def ours(part: NDArray[np.float32]) -> Callable[[], object]:
        if what == "leaves":
            leaves = np.empty((len(part), len(packed.leftmost)), np.uint8)
            return lambda: forest_leaves(packed, part, leaves)
        scores = np.empty(len(part))
        return lambda: forest_scores(packed, part, scores)

    predict = Baseline(
        "LightGBM predict", lambda: booster.predict(x, num_threads=threads, **options), len(x), GOAL
    )
    n_trees = len(packed.leftmost)
    shape = f"{what}-m{len(x)}-n{n_trees}-l{N_LEAVES}-d{N_FEATURES}-t{threads}"
    call = together([ours(part) for part in parts])
    return Comparison("forest", shape, "members/s", call, float(len(x)), (predict,))


CASE = Case("forest", "leaves and scores of boosted trees, against LightGBM", measure)
