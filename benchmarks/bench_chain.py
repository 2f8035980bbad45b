"""W1 from features to message sets: moments, draws, best three; against the sgemm bound and against NumPy.

All on one thread in one run. The bound counts the multiply-adds of the moments alone,
``k (d (d + 1) / 2 + d)`` a member for a full covariance, at the rate of a large square sgemm.
"""

from __future__ import annotations

import numpy as np
import pytest
from bench_score import SQUARE, NumPyDiagonal, NumPyMoments, make_posterior, median_seconds, square_product
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

from decider_core.assemble import Caps, assemble
from decider_core.random import DRAW, stream_key, tie_keys
from decider_core.score import fatigue, pack_posterior, posterior_moments
from decider_core.values import THOMPSON, policy_values

N, K, D, MAX_MESSAGES = 4096, 32, 32, 3
PRICE = 1.2


class Chain:
    """The kernels as the seven steps call them; `steps` holds each by name, in order."""

    def __init__(self, form: str, limited: bool) -> None:
        g = np.random.default_rng(0)
        mean, covariance = make_posterior(K, D)
        self.mean, self.covariance = mean * 0.1, covariance / 50
        self.variance = np.ascontiguousarray(np.einsum("kii->ki", self.covariance))
        packed = pack_posterior(self.mean, self.covariance if form == "full" else self.variance)
        self.z = g.standard_normal((N, D), dtype=np.float32)
        self.reason = (g.random((K, N)) < (0.2 if limited else 0.0)).astype(np.uint8)
        keys, candidates = np.arange(N, dtype=np.uint64), g.integers(0, 1 << 63, K).astype(np.uint64)
        v = (g.random(D) * 0.02 * limited).astype(np.float32)
        cost, price = np.ones(K, np.float32), np.full(K, PRICE, np.float32)
        share = 0.05 * limited
        caps = Caps(
            (np.arange(K) % 4).astype(np.int32),
            (np.arange(K) // 4).astype(np.int32),
            np.where(g.random(N) < share, 1, 3).astype(np.int16),
            np.where(g.random((4, N)) < share, 0, 3 - limited).astype(np.int16),
            np.where(g.random((K // 4, N)) < share, 0, 3 - 2 * limited).astype(np.int16),
            MAX_MESSAGES,
        )
        moments = np.empty((K, N), np.float32), np.empty((K, N), np.float32)
        value, tired, ties = np.empty((K, N), np.float32), np.empty(N, np.float32), tie_keys(7, 0, keys)
        penalty, stream = 0.1 * limited, stream_key(7, DRAW, 0)
        tired[:] = fatigue(self.z, v)
        self.sets = np.empty((MAX_MESSAGES, N), np.int16), np.empty((MAX_MESSAGES, N), np.float32)
        self.steps = {
            "estimate": lambda: posterior_moments(packed, self.z, out=moments),
            "fatigue": lambda: fatigue(self.z, v),
            "draw": lambda: policy_values(THOMPSON, *moments, 0.0, stream, keys, candidates, out=value),
            "ties": lambda: tie_keys(7, 0, keys),
            "assemble": lambda: assemble(
                value, self.reason, tired, penalty, cost, price, 0, ties, caps, out=self.sets
            ),
        }

    def __call__(self) -> None:
        """Decide for all members."""
        for step in self.steps.values():
            step()


class NumPyChain:
    """The best NumPy we know for the unlimited chain: float32 ziggurat draws, three passes of argmax."""

    def __init__(self, chain: Chain, form: str) -> None:
        full = form == "full"
        self.moments = (
            NumPyMoments(chain.mean, chain.covariance) if full else NumPyDiagonal(chain.mean, chain.variance)
        )
        self.z, self.g = chain.z, np.random.default_rng(0)
        self.mean, self.sd = np.empty((K, N), np.float32), np.empty((K, N), np.float32)
        self.value, self.columns = np.empty((K, N), np.float32), np.arange(N)

    def __call__(self) -> None:
        """Decide for all members."""
        self.moments(self.z, self.mean, self.sd)
        self.g.standard_normal(out=self.value, dtype=np.float32)
        self.value *= self.sd
        self.value += self.mean
        sets = np.empty((MAX_MESSAGES, N), np.int16)
        for row in sets:
            best = self.value.argmax(axis=0)
            row[:] = np.where(self.value[best, self.columns] > PRICE, best, -1)
            self.value[best, self.columns] = -np.inf


@pytest.mark.parametrize("limits", ["caps", "free"])
@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_chain(
    benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str], form: str, limits: str
) -> None:
    chain = Chain(form, limits == "caps")
    numpy_chain = NumPyChain(chain, form)
    with threadpool_limits(1):
        seconds, numpy_seconds, sgemm_seconds, *of_steps = median_seconds(
            chain, numpy_chain, square_product(), *chain.steps.values()
        )
        benchmark.group = "chain"
        benchmark(chain)
    multiply_adds = N * K * ((D * (D + 1) // 2 if form == "full" else D) + D)
    bound = sgemm_seconds * multiply_adds / SQUARE**3
    figures = {
        "ns_per_member": seconds / N * 1e9,
        "share_of_sgemm_bound": bound / seconds,
        "times_numpy": numpy_seconds / seconds,
    } | {f"{name}_ns": s / N * 1e9 for name, s in zip(chain.steps, of_steps, strict=True)}
    benchmark.extra_info |= figures
    with capsys.disabled():
        steps = ", ".join(f"{name} {s / N * 1e9:.0f}" for name, s in zip(chain.steps, of_steps, strict=True))
        print(
            f"\nchain {form} {limits} m{N}-k{K}-d{D}: {seconds / N * 1e9:.0f} ns a member ({steps}), "
            f"{bound / seconds:.0%} of the sgemm bound ({bound / N * 1e9:.0f} ns), "
            f"{numpy_seconds / seconds:.1f} times NumPy, {(chain.sets[0] >= 0).sum() / N:.2f} messages"
        )
