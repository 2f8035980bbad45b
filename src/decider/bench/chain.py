"""The work W1: from features to message sets, as the kernels are called for a chunk of members.

Members x 32 candidates x 32 float32 features, an independent posterior draw for every pair, the best three above
a price that leaves about 1.3 messages. *Limited*: a fifth of the candidates masked, one member in twenty with
room for one message, channels and topics with limits that bind for some, fatigue, and a penalty for one topic
twice. Not limited: everything eligible, and no cap can bind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from decider_core.assemble import Caps, assemble
from decider_core.compile import F32, F64
from decider_core.random import DRAW, stream_key, tie_keys
from decider_core.score import moments_and_fatigue, pack_posterior
from decider_core.values import THOMPSON, policy_values

CHUNK: Final = 4096
"""Members that go through the chain together."""
MAX_MESSAGES: Final = 3
PRICE: Final = 1.2


class Chain:
    """The kernels as the seven steps call them; `steps` holds each by name, in order."""

    def __init__(
        self, form: str, limited: bool, n: int = CHUNK, k: int = 32, d: int = 32, seed: int = 0
    ) -> None:
        g = np.random.default_rng(seed)
        self.mean, self.covariance = posterior(k, d)
        self.variance = np.ascontiguousarray(np.einsum("kii->ki", self.covariance))
        packed = pack_posterior(self.mean, self.covariance if form == "full" else self.variance)
        self.z = g.standard_normal((n, d), dtype=np.float32)
        self.reason = (g.random((k, n)) < (0.2 if limited else 0.0)).astype(np.uint8)
        keys, candidates = np.arange(n, dtype=np.uint64), g.integers(0, 1 << 63, k).astype(np.uint64)
        v = (g.random(d) * 0.02 * limited).astype(np.float32)
        cost, price = np.ones(k, np.float32), np.full(k, PRICE, np.float32)
        share = 0.05 * limited
        caps = Caps(
            (np.arange(k) % 4).astype(np.int32),
            (np.arange(k) // 4).astype(np.int32),
            np.where(g.random(n) < share, 1, 3).astype(np.int16),
            np.where(g.random((4, n)) < share, 0, 3 - limited).astype(np.int16),
            np.where(g.random((-(-k // 4), n)) < share, 0, 3 - 2 * limited).astype(np.int16),
            MAX_MESSAGES,
        )
        moments = np.empty((k, n), np.float32), np.empty((k, n), np.float32)
        value, ties = np.empty((k, n), np.float32), tie_keys(7, 0, keys)
        penalty, stream, tired = 0.1 * limited, stream_key(7, DRAW, 0), np.zeros(n, np.float32)

        def estimate() -> None:
            tired[:] = moments_and_fatigue(packed, v, self.z, out=moments)[2]

        self.sets = np.empty((MAX_MESSAGES, n), np.int16), np.empty((MAX_MESSAGES, n), np.float32)
        self.steps: dict[str, Callable[[], object]] = {
            "estimate": estimate,
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


def posterior(k: int, d: int) -> tuple[F64, F64]:
    """Means, f64[k, d], and covariances, f64[k, d, d], of posteriors that have learned from some rows."""
    g = np.random.default_rng(0)
    root = g.normal(size=(k, d, d)) / np.sqrt(d)
    mean: F64 = g.normal(size=(k, d)) * (0.1 * np.sqrt(32 / d))
    covariance: F64 = root @ root.transpose(0, 2, 1) * (0.02 * 32 / d)
    return mean, covariance


def multiply_adds(form: str, k: int, d: int) -> int:
    """Multiply-adds that the moments of a member need at least."""
    return k * ((d * (d + 1) // 2 if form == "full" else d) + d)


class NumPyChain:
    """The best NumPy we know for the chain without limits: float32 ziggurat draws, three passes of argmax.

    Parameters
    ----------
    chain
        Whose members and posteriors to take.
    """

    def __init__(self, chain: Chain, form: str) -> None:
        (n, _), k = chain.z.shape, len(chain.mean)
        self.moments = (
            NumPyMoments(chain.mean, chain.covariance)
            if form == "full"
            else NumPyDiagonal(chain.mean, chain.variance)
        )
        self.z, self.g = chain.z, np.random.Generator(np.random.SFC64(0))
        self.mean, self.sd = np.empty((k, n), np.float32), np.empty((k, n), np.float32)
        self.value, self.columns = np.empty((k, n), np.float32), np.arange(n)

    def __call__(self) -> None:
        """Decide for all members."""
        self.moments(self.z, self.mean, self.sd)
        self.g.standard_normal(out=self.value, dtype=np.float32)
        self.value *= self.sd
        self.value += self.mean
        sets = np.empty((MAX_MESSAGES, self.columns.size), np.int16)
        for row in sets:
            best = self.value.argmax(axis=0)
            row[:] = np.where(self.value[best, self.columns] > PRICE, best, -1)
            self.value[best, self.columns] = -np.inf


class NumPyMoments:
    """The fastest formulation we know: the products of all pairs of features, times the covariances."""

    chunk: Final = 512
    """Members at a time: their feature products stay in L2."""

    def __init__(self, mean: F64, covariance: F64) -> None:
        d = mean.shape[1]
        rows, columns = np.triu_indices(d)
        twice = np.where(rows == columns, 1.0, 2.0)
        self.mean = mean.astype(np.float32)
        self.covariance = (covariance[:, rows, columns] * twice).astype(np.float32)
        self.products = np.empty((rows.size, self.chunk), np.float32)

    def __call__(self, z: F32, mean: F32, sd: F32) -> None:
        """Fill mean and sd, f32[n_candidates, n_members]."""
        d = z.shape[1]
        for first in range(0, len(z), self.chunk):
            members = slice(first, min(first + self.chunk, len(z)))
            features = np.ascontiguousarray(z[members].T)
            products, place = self.products[:, : features.shape[1]], 0
            for i in range(d):
                np.multiply(features[i], features[i:], out=products[place : place + d - i])
                place += d - i
            mean[:, members] = self.mean @ features
            sd[:, members] = np.sqrt(np.maximum(self.covariance @ products, 0.0))


class NumPyDiagonal:
    """Two products, with the features and with their squares."""

    chunk: Final = 512

    def __init__(self, mean: F64, variance: F64) -> None:
        self.mean, self.variance = mean.astype(np.float32), variance.astype(np.float32)

    def __call__(self, z: F32, mean: F32, sd: F32) -> None:
        """Fill mean and sd, f32[n_candidates, n_members]."""
        for first in range(0, len(z), self.chunk):
            members = slice(first, min(first + self.chunk, len(z)))
            features = np.ascontiguousarray(z[members].T)
            mean[:, members] = self.mean @ features
            sd[:, members] = np.sqrt(self.variance @ (features * features))
