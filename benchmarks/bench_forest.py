"""Leaves and scores of 200 trees of 31 leaves, against LightGBM's predict, on one thread in one run."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider.bench.timing import median_seconds
from decider_core.forest import forest_leaves, forest_scores, pack_forest
from tests.core.boosted_trees import arrays_of_trees, trees_of_dump

N_FEATURES = 32


def boosted(n_trees: int) -> lightgbm.Booster:
    g = np.random.default_rng(0)
    x = g.standard_normal((50_000, N_FEATURES)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + g.standard_normal(len(x))
    options = {"objective": "regression", "num_leaves": 31, "verbosity": -1}
    return lightgbm.train(options, lightgbm.Dataset(x, y), n_trees)


@pytest.mark.parametrize("what", ["leaves", "scores"])
@pytest.mark.parametrize("n", [100_000], ids=["m1e5-t200-l31-d32"])
def test_forest(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], n: int, what: str) -> None:
    booster = boosted(200)
    packed = pack_forest(arrays_of_trees(*trees_of_dump(booster.dump_model())), N_FEATURES)
    x = np.random.default_rng(1).standard_normal((n, N_FEATURES)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.05] = np.nan
    function = forest_leaves if what == "leaves" else forest_scores
    options = {"pred_leaf": True} if what == "leaves" else {"raw_score": True}
    np.testing.assert_array_equal(function(packed, x), booster.predict(x, num_threads=1, **options))
    seconds, lightgbm_seconds = median_seconds(
        lambda: function(packed, x), lambda: booster.predict(x, num_threads=1, **options), rounds=3
    )
    benchmark.group = "forest"
    benchmark.pedantic(lambda: function(packed, x), rounds=3)
    figures = {"members_per_second": n / seconds, "times_lightgbm": lightgbm_seconds / seconds}
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nforest {what} m{n:.0e}: {figures['members_per_second'] / 1e6:.2f} M members/s, "
            f"{figures['times_lightgbm']:.1f} times LightGBM"
        )
