"""Off-policy sums with 200 resamples: one pass against a loop in NumPy, on one thread in one run."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider_core.estimate import off_policy, values

N_RESAMPLES = 200
N_TIMED = 20
"""NumPy's resamples are alike, so a tenth of them is timed."""


def logged(n: int) -> dict[str, np.ndarray]:
    g = np.random.Generator(np.random.SFC64(1))
    return {
        "reward": (g.random(n) < 0.2).astype(np.float64),
        "propensity": g.uniform(0.02, 0.2, n),
        "target": g.random(n),
        "dm": g.random(n),
        "q_logged": g.random(n),
        "member_keys": np.arange(n, dtype=np.uint64),
    }


def numpy_bootstrap(rows: dict[str, np.ndarray], n_resamples: int) -> np.ndarray:
    """IPS, SNIPS and DR of rows drawn with replacement, as the bootstrap is usually written."""
    n = len(rows["reward"])
    w = rows["target"] / rows["propensity"]
    weighted, robust = w * rows["reward"], rows["dm"] + w * (rows["reward"] - rows["q_logged"])
    g = np.random.Generator(np.random.SFC64(2))
    found = np.empty((n_resamples, 3))
    for b in range(n_resamples):
        drawn = g.integers(0, n, n)
        total = weighted[drawn].sum()
        found[b] = total / n, total / w[drawn].sum(), robust[drawn].mean()
    return found


@pytest.mark.parametrize("n", [100_000, 1_000_000], ids=lambda n: f"m{n:.0e}-b{N_RESAMPLES}")
def test_resamples(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], n: int) -> None:
    rows = logged(n)
    off_policy(**logged(10), n_resamples=N_RESAMPLES, seed=1)
    start = time.perf_counter()
    numpy_bootstrap(rows, N_TIMED)
    numpy_seconds = (time.perf_counter() - start) * N_RESAMPLES / N_TIMED
    options = {**rows, "n_resamples": N_RESAMPLES, "seed": 1}
    sums = benchmark.pedantic(off_policy, kwargs=options, rounds=5)
    # Both have one spread, and 200 resamples tell it to 5 % of itself: the bounds are at five of that.
    small = logged(5_000)
    ours = values(off_policy(**small, n_resamples=N_RESAMPLES, seed=1)).resampled_dr.std()
    assert 0.65 < ours / numpy_bootstrap(small, N_RESAMPLES)[:, 2].std() < 1.5
    assert np.isfinite(sums.resampled).all()
    seconds = benchmark.stats.stats.median
    figures = {
        "ns_per_row_and_resample": seconds / (n * N_RESAMPLES) * 1e9,
        "times_numpy": numpy_seconds / seconds,
    }
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nresamples m{n:.0e}-b{N_RESAMPLES}: {figures['ns_per_row_and_resample']:.2f} ns a row and "
            f"resample, {figures['times_numpy']:.0f} times NumPy"
        )
