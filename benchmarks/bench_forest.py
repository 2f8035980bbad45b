"""Leaves and scores of 200 trees of 31 leaves, against LightGBM's predict, on one thread in one run."""

from __future__ import annotations

import numpy as np
import pytest

from decider.bench.forest import FORESTS, N_FEATURES, boosted, rates, same_leaves


@pytest.mark.parametrize("what", ["leaves", "scores"])
def test_forest(compare, what: str) -> None:
    booster, packed = boosted("nan")
    x = np.random.default_rng(1).standard_normal((50_000, N_FEATURES)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.05] = np.nan
    compare(rates(what, booster, packed, x, threads=1))


@pytest.mark.parametrize("kind", FORESTS)
def test_same_leaves(kind: str) -> None:
    assert same_leaves(kind, 100_000).holds
