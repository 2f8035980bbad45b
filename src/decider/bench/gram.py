"""Gram updates of posteriors and of set learners, against the machine's symmetric product (dsyrk).

The bound counts what the symmetric product of the whole matrix takes, ``n D (D + 1)`` floating-point operations,
at the rate of dsyrk on a long block of 1,024 columns. The update of products needs half of them, so it may stand
above the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg.blas import dsyrk
from threadpoolctl import threadpool_limits

from decider.bench.case import Case, Effort, Row
from decider.bench.comparison import Baseline, Comparison
from decider_core.gram import gram_products_update, n_products
from decider_core.posterior import gram_update

PEAK_ROWS, PEAK_WIDTH = 4096, 1024
SHAPES = ((400_000, 33), (200_000, 256), (20_000, 1056))
"""Rows and width: an intercept and 32 features; a learner of 8 messages; 33 responses of 32 features."""
PRODUCT_SHAPES = ((50_000, 33, 32), (50_000, 10, 32))
"""Rows, responses and features of the set learner's update: its matrix is responses times features wide."""
GOAL = 0.5
THREADS = 2


def measure(effort: Effort) -> Iterator[Row]:
    """Both updates, each in every shape."""
    threads, scale = (1, 10) if effort.short else (THREADS, 1)
    with threadpool_limits(threads):
        for n, width in SHAPES:
            yield from update(n // scale, width, threads).rows(effort)
        for n, n_responses, d in PRODUCT_SHAPES:
            yield from products_update(n // scale, n_responses, d, threads).rows(effort)


def update(n: int, width: int, threads: int) -> Comparison:
    """Rows added to the posterior of `width` weights."""
    g = np.random.default_rng(1)
    x, y, weight = g.standard_normal((n, width), np.float32), g.normal(size=n), np.ones(n)
    precision, information = np.zeros((width, width)), np.zeros(width)
    return _comparison(
        f"update-m{n}-d{width}-t{threads}",
        n,
        width,
        lambda: gram_update(precision, information, x, y, weight),
    )


def products_update(n: int, n_responses: int, d: int, threads: int) -> Comparison:
    """Rows added to the sums of a learner of sets."""
    g = np.random.default_rng(2)
    response, z, weight = g.normal(size=(n_responses, n)), g.standard_normal((n, d), np.float32), np.ones(n)
    products = np.zeros((n_products(n_responses), n_products(d)))
    return _comparison(
        f"products-m{n}-r{n_responses}-d{d}-t{threads}",
        n,
        n_responses * d,
        lambda: gram_products_update(products, response, z, weight),
    )


def _comparison(shape: str, n: int, width: int, call: Callable[[], object]) -> Comparison:
    rows = np.asfortranarray(np.random.default_rng(0).normal(size=(PEAK_WIDTH, PEAK_ROWS)))
    peak = PEAK_ROWS * PEAK_WIDTH * (PEAK_WIDTH + 1.0) / 1e9
    syrk = Baseline("dsyrk", lambda: dsyrk(1.0, rows), peak, GOAL)
    return Comparison("gram", shape, "GFLOP/s", call, n * width * (width + 1.0) / 1e9, (syrk,))


CASE = Case("gram", "Gram updates of training, against dsyrk at its best", measure)
