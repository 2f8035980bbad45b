"""Posterior moments against NumPy and against the machine's matrix product, all on one thread in one run.

The bound counts the multiply-adds that the moments need, ``k (d (d + 1) / 2 + d)`` a member, at the rate
of sgemm on a large square product.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

from decider_core.score import pack_posterior, posterior_moments

CHUNK = 512
"""Members that NumPy works on at a time: its feature products then stay in L2."""
SQUARE = 1024
"""Side of the matrices whose product gives the machine's rate."""


def median_seconds(
    *functions: Callable[[], object], rounds: int = 11, round_seconds: float = 0.02
) -> list[float]:
    """Time the functions in turn, so that all see the same machine; each warms its caches first."""
    repeats = []
    for function in functions:
        function()
        start = time.perf_counter()
        function()
        repeats.append(2 + int(round_seconds / (time.perf_counter() - start)))
    seconds = np.empty((rounds, len(functions)))
    for row in seconds:
        for i, (function, n) in enumerate(zip(functions, repeats, strict=True)):
            function()
            start = time.perf_counter()
            for _ in range(n):
                function()
            row[i] = (time.perf_counter() - start) / n
    return np.median(seconds, axis=0).tolist()


def make_posterior(k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(k, d, d)) / np.sqrt(d)
    return rng.normal(size=(k, d)), root @ root.transpose(0, 2, 1)


class NumPyMoments:
    """The fastest formulation we know: the products of all pairs of features, times the covariances."""

    def __init__(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        d = mean.shape[1]
        rows, columns = np.triu_indices(d)
        twice = np.where(rows == columns, 1.0, 2.0)
        self.mean = mean.astype(np.float32)
        self.covariance = (covariance[:, rows, columns] * twice).astype(np.float32)
        self.products = np.empty((rows.size, CHUNK), np.float32)

    def __call__(self, z: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> None:
        """Fill mean and sd."""
        d = z.shape[1]
        for first in range(0, len(z), CHUNK):
            members = slice(first, min(first + CHUNK, len(z)))
            features = np.ascontiguousarray(z[members].T)
            products, place = self.products[:, : features.shape[1]], 0
            for i in range(d):
                np.multiply(features[i], features[i:], out=products[place : place + d - i])
                place += d - i
            mean[:, members] = self.mean @ features
            sd[:, members] = np.sqrt(np.maximum(self.covariance @ products, 0.0))


class NumPyDiagonal:
    """Two products, with the features and with their squares."""

    def __init__(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.mean, self.variance = mean.astype(np.float32), variance.astype(np.float32)

    def __call__(self, z: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> None:
        """Fill mean and sd."""
        for first in range(0, len(z), CHUNK):
            members = slice(first, min(first + CHUNK, len(z)))
            features = np.ascontiguousarray(z[members].T)
            mean[:, members] = self.mean @ features
            sd[:, members] = np.sqrt(self.variance @ (features * features))


def square_product() -> Callable[[], object]:
    square = np.random.default_rng(1).normal(size=(SQUARE, SQUARE)).astype(np.float32)
    out = np.empty_like(square)
    return lambda: np.matmul(square, square, out=out)


SHAPES = [(512, 32, 32), (4096, 32, 32), (4096, 2, 8), (4096, 128, 32), (4096, 32, 128)]


@pytest.mark.parametrize("form", ["full", "diagonal"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "m{}-k{}-d{}".format(*shape))
def test_moments(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int, int], form: str
) -> None:
    n, k, d = shape
    z = np.random.default_rng(2).normal(size=(n, d)).astype(np.float32)
    mean, covariance = make_posterior(k, d)
    variance = np.ascontiguousarray(np.einsum("kii->ki", covariance))
    packed = pack_posterior(mean, covariance if form == "full" else variance)
    baseline = NumPyMoments(mean, covariance) if form == "full" else NumPyDiagonal(mean, variance)
    out, ref = (tuple(np.empty((k, n), np.float32) for _ in range(2)) for _ in range(2))
    with threadpool_limits(1):
        seconds, numpy_seconds, sgemm_seconds = median_seconds(
            lambda: posterior_moments(packed, z, out=out), lambda: baseline(z, *ref), square_product()
        )
        benchmark(posterior_moments, packed, z, out=out)
    for ours, theirs in zip(out, ref, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    multiply_adds = n * k * ((d * (d + 1) // 2 if form == "full" else d) + d)
    figures = {
        "ns_per_member": seconds / n * 1e9,
        "times_numpy": numpy_seconds / seconds,
        "share_of_sgemm_bound": sgemm_seconds * multiply_adds / SQUARE**3 / seconds,
    }
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\nmoments {form} m{n}-k{k}-d{d}: {figures['ns_per_member']:.0f} ns a member, "
            f"{figures['times_numpy']:.2f} times NumPy, {figures['share_of_sgemm_bound']:.0%} of sgemm"
        )
