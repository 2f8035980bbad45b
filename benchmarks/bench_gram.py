"""Gram updates against the machine's symmetric product (dsyrk), in one run on the same threads.

The bound counts what the symmetric product of the whole matrix takes, ``n D (D + 1)`` floating-point
operations, at the rate of dsyrk on a long block of the same width. The update of products needs half of them,
so it may stand above the bound.
"""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.linalg.blas import dsyrk
from timing import median_seconds

from decider_core.gram import gram_products_update, n_products
from decider_core.posterior import gram_update

PEAK_ROWS, PEAK_WIDTH = 4096, 1024


def syrk_peak() -> tuple[object, float]:
    """Return a symmetric product and its floating-point operations."""
    rows = np.asfortranarray(np.random.default_rng(0).normal(size=(PEAK_WIDTH, PEAK_ROWS)))
    return lambda: dsyrk(1.0, rows), PEAK_ROWS * PEAK_WIDTH * (PEAK_WIDTH + 1.0)


@pytest.mark.parametrize(
    "shape", [(200_000, 33), (100_000, 256), (20_000, 1024)], ids="m{0[0]}-d{0[1]}".format
)
def test_gram_update(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int]
) -> None:
    n, d = shape
    g = np.random.default_rng(1)
    x, y, weight = g.normal(size=(n, d)), g.normal(size=n), np.ones(n)
    precision, information = np.zeros((d, d)), np.zeros(d)
    peak, peak_operations = syrk_peak()
    seconds, syrk_seconds = median_seconds(lambda: gram_update(precision, information, x, y, weight), peak)
    benchmark.pedantic(gram_update, args=(precision, information, x, y, weight), rounds=3)
    report(benchmark, capsys, f"update m{n}-d{d}", n, d, seconds, peak_operations / syrk_seconds)


@pytest.mark.parametrize("shape", [(50_000, 34, 32), (50_000, 10, 32)], ids="m{0[0]}-r{0[1]}-d{0[2]}".format)
def test_gram_products_update(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], shape: tuple[int, int, int]
) -> None:
    n, r, d = shape
    g = np.random.default_rng(2)
    response, z, weight = g.normal(size=(r, n)), g.normal(size=(n, d)).astype(np.float32), np.ones(n)
    products = np.zeros((n_products(r), n_products(d)))
    peak, peak_operations = syrk_peak()
    seconds, syrk_seconds = median_seconds(
        lambda: gram_products_update(products, response, z, weight), peak, rounds=3
    )
    benchmark.pedantic(gram_products_update, args=(products, response, z, weight), rounds=3)
    report(benchmark, capsys, f"products m{n}-r{r}-d{d}", n, r * d, seconds, peak_operations / syrk_seconds)


def report(
    benchmark: BenchmarkFixture,
    capsys: pytest.CaptureFixture[str],
    name: str,
    n: int,
    width: int,
    seconds: float,
    peak: float,
) -> None:
    figures = {
        "ns_per_row": seconds / n * 1e9,
        "gflops_of_syrk": n * width * (width + 1) / seconds / 1e9,
        "share_of_syrk_peak": n * width * (width + 1) / seconds / peak,
    }
    benchmark.extra_info |= figures
    with capsys.disabled():
        print(
            f"\ngram {name}: {figures['ns_per_row']:.0f} ns a row, {figures['gflops_of_syrk']:.1f} GFLOP/s "
            f"of a whole symmetric product, {figures['share_of_syrk_peak']:.0%} of syrk's peak"
        )
