"""Posterior moments against NumPy and against the machine's matrix product, all on one thread in one run.

The bound counts the multiply-adds that the moments need, ``k (d (d + 1) / 2 + d)`` a member, at the rate
of sgemm on a large square product.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from decider.bench.chain import NumPyDiagonal, NumPyMoments, multiply_adds, posterior
from decider.bench.comparison import Baseline, Comparison
from decider.bench.threads import SQUARE, square_product
from decider_core.score import pack_posterior, posterior_moments

SHAPES = [(512, 32, 32), (4096, 32, 32), (4096, 2, 8), (4096, 128, 32), (4096, 32, 128)]


@pytest.mark.parametrize("form", ["full", "diagonal"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "m{}-k{}-d{}".format(*shape))
def test_moments(compare, shape: tuple[int, int, int], form: str) -> None:
    n, k, d = shape
    z = np.random.default_rng(2).normal(size=(n, d)).astype(np.float32)
    mean, covariance = posterior(k, d)
    variance = np.ascontiguousarray(np.einsum("kii->ki", covariance))
    packed = pack_posterior(mean, covariance if form == "full" else variance)
    in_numpy = NumPyMoments(mean, covariance) if form == "full" else NumPyDiagonal(mean, variance)
    out, ref = (tuple(np.empty((k, n), np.float32) for _ in range(2)) for _ in range(2))
    baselines = (
        Baseline("NumPy", lambda: in_numpy(z, *ref), n),
        Baseline("sgemm", square_product(), SQUARE**3 / multiply_adds(form, k, d)),
    )
    name = f"{form}-m{n}-k{k}-d{d}"
    with threadpool_limits(1):
        compare(
            Comparison(
                "score", name, "members/s", lambda: posterior_moments(packed, z, out=out), n, baselines
            )
        )
    for ours, theirs in zip(out, ref, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
