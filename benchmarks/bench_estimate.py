"""Off-policy sums over 32 actions with 200 resamples: one pass against a loop in NumPy, in one run.

`DECIDER_BENCH_ROWS` sets the number of rows; the full size is 10,000,000.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from decider_core.estimate import OffPolicySums, merge, off_policy_actions, values

N_RESAMPLES = 200
N_TIMED = 20
"""NumPy's resamples are alike, so a tenth of them is timed."""
N_ACTIONS = 32
CHUNK = 500_000
THREADS = 2
Rows = dict[str, np.ndarray]


def logged(n: int) -> Rows:
    g = np.random.Generator(np.random.SFC64(1))
    target = np.empty((n, N_ACTIONS), np.float32)
    q_hat = np.empty((n, N_ACTIONS), np.float32)
    for start in range(0, n, CHUNK):
        rows = slice(start, min(n, start + CHUNK))
        g.random(out=q_hat[rows], dtype=np.float32)
        g.standard_exponential(out=target[rows], dtype=np.float32)
        target[rows] /= target[rows].sum(axis=1, keepdims=True)
    arm = g.integers(0, N_ACTIONS, n)
    return {
        "reward": (g.random(n) < 0.2 + 0.3 * q_hat[np.arange(n), arm]).astype(np.float64),
        "propensity": np.full(n, 1 / N_ACTIONS),
        "arm": arm,
        "target": target,
        "q_hat": q_hat,
        "member_keys": np.arange(n, dtype=np.uint64),
    }


def one_pass(rows: Rows) -> OffPolicySums:
    """Chunks on threads; each is forgotten once its sums are made."""
    n = len(rows["arm"])
    chunks = [slice(start, min(n, start + CHUNK)) for start in range(0, n, CHUNK)]

    def add(chunk: slice) -> OffPolicySums:
        part = {name: array[chunk] for name, array in rows.items()}
        return off_policy_actions(**part, n_resamples=N_RESAMPLES, seed=1)

    with ThreadPoolExecutor(THREADS) as pool:
        return reduce(merge, pool.map(add, chunks))


def numpy_bootstrap(rows: Rows, n_resamples: int) -> tuple[float, float, np.ndarray]:
    """IPS, SNIPS and DR of rows drawn with replacement, as the bootstrap is usually written.

    Returns the seconds of the estimates, those of the resamples, and the resampled estimates.
    """
    start = time.perf_counter()
    n = len(rows["arm"])
    places = np.arange(n), rows["arm"]
    w = (rows["target"][places] / rows["propensity"]).astype(np.float32)
    weighted = w * rows["reward"].astype(np.float32)
    robust = np.einsum("nk,nk->n", rows["target"], rows["q_hat"])
    robust += w * (rows["reward"].astype(np.float32) - rows["q_hat"][places])
    made = time.perf_counter()
    found = np.empty((n_resamples, 3))

    def resample(thread: int) -> None:
        g = np.random.Generator(np.random.SFC64(thread))
        for b in range(thread, n_resamples, THREADS):
            drawn = g.integers(0, n, n, dtype=np.int32)
            total = np.take(weighted, drawn).sum(dtype=np.float64)
            found[b, :2] = total / n, total / np.take(w, drawn).sum(dtype=np.float64)
            found[b, 2] = np.take(robust, drawn).mean(dtype=np.float64)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(resample, range(THREADS)))
    return made - start, time.perf_counter() - made, found


SIZES = [int(float(os.environ.get("DECIDER_BENCH_ROWS", "1e6")))]


@pytest.mark.parametrize("n", SIZES, ids=lambda n: f"m{n:.0e}-k{N_ACTIONS}-b{N_RESAMPLES}")
def test_resamples(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], n: int) -> None:
    rows = logged(n)
    one_pass(logged(10))
    estimates, resamples, _ = numpy_bootstrap(rows, N_TIMED)
    numpy_seconds = estimates + resamples * N_RESAMPLES / N_TIMED
    sums = benchmark.pedantic(one_pass, args=(rows,), rounds=3)
    # Both have one spread, and 200 resamples tell it to 5 % of itself: the bounds are at five of that.
    small = logged(5_000)
    ours = values(one_pass(small)).resampled_dr.std()
    assert 0.65 < ours / numpy_bootstrap(small, N_RESAMPLES)[2][:, 2].std() < 1.5
    assert np.isfinite(sums.resampled).all()
    seconds = benchmark.stats.stats.median
    figures = {
        "seconds": seconds,
        "numpy_seconds": numpy_seconds,
        "ns_per_row_resample_and_thread": seconds * THREADS / (n * N_RESAMPLES) * 1e9,
        "times_numpy": numpy_seconds / seconds,
    }
    benchmark.extra_info |= figures
    shape = f"m{n:.0e}-k{N_ACTIONS}-b{N_RESAMPLES}"
    with capsys.disabled():
        print(f"\n{shape}: {seconds:.2f} s, NumPy {numpy_seconds:.1f} s: {figures['times_numpy']:.0f} times")
